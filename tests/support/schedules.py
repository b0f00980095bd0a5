"""Sends that start later, where a test need not wait for that: accepted, made due, started, delivered."""

from typing import Any

import asyncpg

from service.application.address_book.rights import UserRights
from service.application.messages.chunk import ChunkOutcome, deliver_at_once
from service.application.messages.create import Accepted, carry_out, validate
from service.application.messages.create_request import CreateConversation
from service.application.messages.schedule import Started, start_next
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.runtime import event_metadata
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.support.school import School

# As an operator's statement would: the send is due a second ago, by the clock that starts it.
_FALL_DUE = """
WITH due AS (UPDATE scheduled_sends SET due_at = now() - interval '1 s' WHERE batch_id = $1)
UPDATE batches SET send_at = now() - interval '1 s' WHERE id = $1
"""
_STATES = """
SELECT r.user_id, c.state, c.error FROM chunks c CROSS JOIN LATERAL unnest(c.recipients) AS r(user_id)
WHERE c.batch_id = $1
UNION ALL
SELECT user_id, 'skipped', reason FROM skipped_recipients WHERE batch_id = $1
"""


async def fall_due(conn: Connection, batch_id: int) -> None:
    """The time of a scheduled batch has come."""
    await conn.execute(_FALL_DUE, batch_id)


async def states(conn: Connection, batch_id: int) -> dict[int, tuple[str, str | None]]:
    """(state, reason) of each recipient of a batch; nobody is in two places."""
    rows = await conn.fetch(_STATES, batch_id)
    found = {row["user_id"]: (row["state"], row["error"]) for row in rows}
    assert len(found) == len(rows)
    return found


class Schedules:
    """Scheduled sends of a school's teacher, a day ahead."""

    def __init__(self, conn: asyncpg.Connection, settings: Settings, school: School) -> None:
        self._conn = conn
        self._school = school
        self._ids, self._tag_sets = IdBlocks(), TagSets()
        self.settings = settings

    def work(self, batch_id: int = 0) -> Work:
        """A process's share of a start."""
        cause = event_metadata.job(self.settings, message_id=f"start.{batch_id}", name="start")
        return Work(self.settings, self._ids, self._tag_sets, cause)

    async def accept(self, recipients: list[str], *, actor: UserRights | None = None, **more: Any) -> int:
        """The id of a batch that is scheduled."""
        tomorrow = await self._conn.fetchval("SELECT now() + interval '1 day'")
        request = CreateConversation(
            **{"author_id": self._school.teacher, "body": "Hello", "send_at": tomorrow, **more},
            recipients=recipients,
            actor=actor,
        )
        plan = await validate(self.work(), self._conn, request)
        async with self._conn.transaction():
            outcome = await carry_out(self.work(), self._conn, request, plan)
        assert isinstance(outcome, Accepted)
        return outcome.batch_id

    async def to_the_course(self, **more: Any) -> int:
        """A bulk message to everybody in the school's course."""
        course = f"course_{self._school.course}"
        bulk: dict[str, Any] = {"group_conversation": True, "bulk_message": True, "context_code": course}
        return await self.accept([course], **(bulk | more))

    async def start(self, batch_id: int) -> Started:
        """Starts a batch whose time has come."""
        await fall_due(self._conn, batch_id)
        started = await start_next(self._conn, self.work)
        assert started is not None
        assert started.batch_id == batch_id
        return started

    async def deliver(self, batch_id: int) -> None:
        """All chunks of a batch, as workers would."""
        for position in await self._conn.fetch("SELECT position FROM chunks WHERE batch_id = $1", batch_id):
            async with self._conn.transaction():
                outcome = await deliver_at_once(
                    self._conn, self._tag_sets, batch_id, position["position"], cause=self.work().cause
                )
            assert isinstance(outcome, ChunkOutcome)

    async def batch(self, batch_id: int) -> asyncpg.Record:
        """The row, whose counters are those of its recipients' states."""
        row = await self._conn.fetchrow("SELECT * FROM batches WHERE id = $1", batch_id)
        assert row is not None
        found = [state for state, _ in (await states(self._conn, batch_id)).values()]
        assert len(found) == row["total"]
        for state in ("delivered", "failed", "skipped"):
            assert found.count(state) == row[state]
        return row

    async def events(self) -> list[tuple[str, str]]:
        """(event, state in it) of batches, in order."""
        rows = await self._conn.fetch(
            "SELECT event, body ->> 'state' AS state FROM outbox WHERE event LIKE 'batch%' ORDER BY id"
        )
        return [(row["event"], row["state"]) for row in rows]
