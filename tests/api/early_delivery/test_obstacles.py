"""Readers whose message cannot be delivered at once are answered all the same (CONTRACT 3.3)."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.api import early_delivery as waits
from service.application.messages import early_delivery as locks
from service.application.messages.early_delivery import MOST_CUTS
from tests.support.batches import refused
from tests.support.early_delivery import BLOCKED, Read, SendToAll, Token, held, states
from tests.support.http_calls import call
from tests.support.school import School
from tests.support.waiting import PATIENCE, until


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM chunks FOR UPDATE",
        "SELECT FROM batches FOR UPDATE",
        "LOCK TABLE batches IN SHARE ROW EXCLUSIVE MODE",
    ],
)
async def test_a_chunk_that_others_hold_does_not_keep_a_reader(
    *,
    send: SendToAll,
    unread: Read,
    school: School,
    conn: asyncpg.Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
) -> None:
    """A worker that is frozen, or a merge of accounts."""
    monkeypatch.setattr(locks, "LONGEST_WAIT", timedelta(milliseconds=50))
    await send()
    async with held(database_url, statement):
        assert await unread(school.students[0]) == "0"
    assert await conn.fetchval("SELECT sum(attempts) FROM chunks") == 0
    monkeypatch.undo()
    assert await unread(school.students[0]) == "1"


async def test_a_reader_waits_for_who_is_delivering_the_chunk(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
    database_url: str,
) -> None:
    """A worker has it in work: the reader has the message when that one is through."""
    await send()
    headers = await token(school.students[0])
    async with held(database_url, "SELECT FROM chunks FOR UPDATE"):
        reader = asyncio.create_task(call(client, headers, "GET", "/conversations/unread_count"))
        await until(lambda: conn.fetchval(BLOCKED))
    assert await reader == {"unread_count": "1"}


async def test_a_reader_whose_time_is_up_is_answered_without_it(
    send: SendToAll, unread: Read, school: School, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the delivery goes on."""
    monkeypatch.setattr(waits, "PATIENCE", 0.05)
    await send()
    async with held(database_url, "SELECT FROM chunks FOR UPDATE"):
        assert await unread(school.students[0]) == "0"
    await until(lambda: _sees(unread, school.students[0]))


async def _sees(unread: Read, user: int) -> bool:
    return await unread(user) == "1"


async def test_a_reader_does_not_wait_for_a_database_that_is_away(
    send: SendToAll, unread: Read, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send()

    async def away(*_: Any) -> None:
        raise ConnectionResetError("database is away")

    monkeypatch.setattr(waits, "cut_out", away)
    async with asyncio.timeout(PATIENCE):  # a reader's own is twice as long here
        assert await unread(school.students[0]) == "0"


async def test_who_cannot_be_written_to_keeps_no_other_from_the_message(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """However many recipients read, that one has one attempt, and is left to the workers then."""
    await send()
    culprit = school.students[3]
    others = [student for student in school.students if student != culprit]

    async with refused(conn, f"NEW.user_id = {culprit}"):
        seen = [await unread(student) for student in (others[0], culprit, *others)]

    assert seen == ["1", "0", *["1"] * len(others)]

    (left,) = await conn.fetch(
        "SELECT recipients, state, attempts, error, due_at > now() AS later FROM chunks WHERE state <> 'delivered'"
    )
    assert (left["recipients"], left["state"], left["attempts"], left["later"]) == ([culprit], "pending", 1, True)
    assert f"user {culprit} is refused" in left["error"]


async def test_where_nothing_can_be_written_a_reader_does_not_try_for_ever(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """What is left of a chunk then is the workers', and no other reader tries it."""
    await send()
    async with refused(conn, "true"):
        assert await unread(school.students[0]) == "0"
        cut = await conn.fetch("SELECT position, attempts FROM chunks ORDER BY position")
        assert await unread(school.students[0]) == "0"
        assert await conn.fetch("SELECT position, attempts FROM chunks ORDER BY position") == cut

    assert len(cut) == 3 + MOST_CUTS
    assert [row["attempts"] for row in cut if row["position"] in (0, *range(3, len(cut)))] == [1] * (1 + MOST_CUTS)


@pytest.mark.parametrize("counted", ["attempts", "redeliveries"])
async def test_a_chunk_that_workers_failed_at_is_theirs(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection, counted: str
) -> None:
    await send()
    await conn.execute(f"UPDATE chunks SET {counted} = 1 WHERE position = 0")
    assert await unread(school.students[0]) == "0"
    assert (await states(conn))[0] == "pending"
