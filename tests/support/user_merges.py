"""Merges as events ask for them, private threads with their keys, and what must hold after any merge."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from service.contracts.directory import BODIES, DirectoryEvent
from sql.connection import Connection
from tests.support.conversations import Threads
from tests.support.waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def merged(old: int, target: int, seconds: int = 0) -> DirectoryEvent:
    body = BODIES["user_merged"].model_validate({"user_id": old, "merged_into_user_id": target})
    return DirectoryEvent("user_merged", NOW + timedelta(seconds=seconds), body)


class Pairs:
    """Private threads with the key that finds them again."""

    def __init__(self, conn: Connection, threads: Threads) -> None:
        self._conn = conn
        self._threads = threads

    async def send(self, sender: int, recipient: int, body: str = "Hello", *, context: int = 0, **content: Any) -> int:
        """A message in the pair's thread, which is opened when there is none; returns the thread."""
        pair = (min(sender, recipient), max(sender, recipient), context)
        found: int | None = await self._conn.fetchval(
            "SELECT conversation_id FROM participants WHERE user_id = $1 AND private_peer_id = $2"
            " AND private_context = $3",
            *pair,
        )
        if found is not None:
            await self._threads.reply(found, sender, body, **content)
            return found
        made = await self._threads.private(sender, recipient, body, **content)
        await self._threads.update(made, pair[0], private_peer_id=pair[1], private_context=context)
        return made

    async def between(self, one: int, other: int) -> list[int]:
        """The threads that are found for a pair, contexts aside."""
        found = await self._conn.fetch(
            "SELECT conversation_id FROM participants WHERE user_id = $1 AND private_peer_id = $2 ORDER BY 1",
            min(one, other),
            max(one, other),
        )
        return [row["conversation_id"] for row in found]


async def everything(conn: Connection) -> list[list[tuple[Any, ...]]]:
    """All that a merge may change."""
    return [
        [tuple(row) for row in await conn.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3")]
        for table in ("conversations", "participants", "messages", "message_views", "sends", "batches")
    ]


async def seen(conn: Connection) -> dict[int, set[tuple[int, int]]]:
    """(message, send) pairs that each user has and has not deleted, human ones."""
    found: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    for row in await conn.fetch("SELECT * FROM participant_messages WHERE deleted_at IS NULL AND NOT generated"):
        found[row["user_id"]].add((row["id"], row["send_id"]))
    return found


async def check_invariants(conn: Connection) -> None:
    assert await conn.fetch("SELECT user_id, private_peer_id FROM participants WHERE user_id > private_peer_id") == []
    one_key = (
        "SELECT c.id FROM conversations c JOIN sends s ON s.id = c.send_id AND s.private"
        " LEFT JOIN participants p ON p.conversation_id = c.id"
        " GROUP BY c.id HAVING count(p.private_peer_id) <> 1 OR min(p.user_id) <> max(p.user_id)"
        " AND max(p.private_peer_id) <> max(p.user_id) OR count(*) > 2"
    )
    assert await conn.fetch(one_key) == []
    miscounted = (
        "SELECT p.conversation_id, p.user_id, p.message_count FROM participants p"
        " LEFT JOIN participant_messages m ON m.conversation_id = p.conversation_id AND m.user_id = p.user_id"
        " AND m.deleted_at IS NULL AND NOT m.generated"
        " GROUP BY p.conversation_id, p.user_id HAVING count(m.id) <> p.message_count"
    )
    assert await conn.fetch(miscounted) == []
    for table in ("messages", "participants", "message_views"):
        orphans = (
            f"SELECT * FROM {table} t WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = t.conversation_id)"
        )
        assert await conn.fetch(orphans) == []
    assert await conn.fetch("SELECT FROM participants WHERE message_count = 0 AND last_message_at IS NOT NULL") == []


async def until_waiting(conn: Connection) -> None:
    """Returns when a connection to the test's database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await until(lambda: conn.fetchval(waiting))
