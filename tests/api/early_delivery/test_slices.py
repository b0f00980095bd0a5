"""What is delivered for a reader of a large chunk: those around the reader, and the rest stays the workers'."""

import asyncio
import random
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.application.messages import early_delivery as locks
from service.application.messages.chunk import read_chunk
from service.contracts.commands import DeliverChunk
from service.runtime.settings import Settings
from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.early_delivery import BLOCKED, Read, SendToAll, Token, states
from tests.support.http_calls import call
from tests.support.school import School
from tests.support.waiting import until
from workers.deliver import Deliverer
from workers.outcome import Done


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten recipients have the message when one of them reads."""
    monkeypatch.setattr(locks, "SLICE", 10)
    monkeypatch.setattr(locks, "WHOLE", 15)


@pytest.mark.usefixtures("slices")
async def test_who_reads_has_those_around_delivered_and_not_all_of_a_large_chunk(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """The rest of the chunk stays where it was."""
    await send()
    assert await unread(school.students[57]) == "1"
    assert [student for student in school.students if await delivered_to(conn, student)] == school.students[50:60]
    chunks = await conn.fetch("SELECT state, size FROM chunks ORDER BY position")
    assert [tuple(chunk) for chunk in chunks[:3]] == [
        ("pending", 90),
        ("pending", 100),
        ("pending", len(school.students) - 200),
    ]
    assert [tuple(chunk) for chunk in chunks[3:]] == [("delivered", 10)]


@pytest.mark.usefixtures("slices")
async def test_in_slices_too_everybody_who_looks_has_the_message_once(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    batch_id = await send()
    chance = random.Random(3)
    assert [await unread(student) for student in chance.sample(school.students, len(school.students))] == ["1"] * len(
        school.students
    )
    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.usefixtures("slices")
async def test_a_worker_that_has_read_a_chunk_delivers_what_readers_left_of_it(
    *,
    send: SendToAll,
    unread: Read,
    school: School,
    conn: asyncpg.Connection,
    settings: Settings,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cut comes between its reading and its writing."""
    batch_id = await send()
    seen: list[str] = []

    async def read_and_be_overtaken(*args: Any) -> Any:
        found = await read_chunk(*args)
        if not seen:
            seen.append(await unread(school.students[42]))
        return found

    monkeypatch.setattr("workers.deliver.read_chunk", read_and_be_overtaken)
    worker = Deliverer(settings, pool)
    for position in range(3):
        assert await worker.handle(DeliverChunk(batch_id=batch_id, position=position)) == Done()

    assert seen == ["1"]
    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.usefixtures("slices")
async def test_a_slice_that_nobody_came_to_deliver_is_the_workers(
    send: SendToAll, school: School, conn: asyncpg.Connection, settings: Settings, pool: asyncpg.Pool
) -> None:
    """The gateway was killed after the cut; the slice waits for its turn like any other chunk."""
    batch_id = await send()
    cut = await locks.cut_out(conn, batch_id, school.students[3])
    assert cut is not None
    assert cut.recipients == frozenset(school.students[:10])
    again = await locks.cut_out(conn, batch_id, school.students[3])
    assert again == cut  # who asks next does not cut anew
    commands = asyncio.Queue[DeliverChunk]()
    worker = Deliverer(settings, pool, commands.put)
    commands.put_nowait(DeliverChunk(batch_id=batch_id, position=0))
    await conn.execute(
        "UPDATE chunks SET due_at = CASE WHEN position = 0 THEN now() ELSE 'infinity' END WHERE position < 3"
    )
    while not commands.empty():
        assert await worker.handle(commands.get_nowait()) == Done()
    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.usefixtures("slices")
async def test_who_is_cut_out_of_a_chunk_meanwhile_is_found_again(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
    database_url: str,
) -> None:
    """Another gateway cuts at the same moment."""
    batch_id = await send()
    headers = await token(school.students[5])
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await locks.cut_out(other, batch_id, school.students[3])
        reader = asyncio.create_task(call(client, headers, "GET", "/conversations/unread_count"))
        await until(lambda: conn.fetchval(BLOCKED))
    assert await reader == {"unread_count": "1"}
    await other.close()
    assert [row["size"] for row in await conn.fetch("SELECT size FROM chunks WHERE state = 'delivered'")] == [10]


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("state", ["paused", "cancelled"])
async def test_nothing_is_cut_in_a_batch_that_was_stopped_meanwhile(
    send: SendToAll, school: School, conn: asyncpg.Connection, state: str
) -> None:
    """Between the look for what the reader waits for and the cut."""
    batch_id = await send()
    await conn.execute("UPDATE batches SET state = $1", state)
    assert await locks.cut_out(conn, batch_id, school.students[0]) is None
    assert await states(conn) == ["pending"] * 3


async def delivered_to(conn: asyncpg.Connection, user: int) -> bool:
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM participants WHERE user_id = $1)", user))
