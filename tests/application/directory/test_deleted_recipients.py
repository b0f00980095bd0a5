"""Bulk sends in work when users are deleted: they are left out, and no one else is touched (CONTRACT 3.6)."""

from datetime import timedelta

import asyncpg
import pytest

from service.application.directory.events import apply
from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_at_once, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.contracts.directory import BODIES, DirectoryEvent
from service.domain.batch_recipients import RecipientState
from sql import chunks
from sql.batch_recipients import list_recipients
from sql.chunks import PendingChunk
from sql.connection import Connection
from tests.support.batches import Batches, pending
from tests.support.user_merges import NOW, merged

EVERYBODY = range(101, 111)


def deleted(user: int, seconds: int = 0) -> DirectoryEvent:
    body = BODIES["user_updated"].model_validate({"user_id": user, "workflow_state": "deleted"})
    return DirectoryEvent("user_updated", NOW + timedelta(seconds=seconds), body)


@pytest.fixture(autouse=True)
async def _people(conn: asyncpg.Connection) -> None:
    await conn.executemany(
        "INSERT INTO users (id, name, workflow_state, as_of) VALUES ($1, 'User', 'registered', 'epoch')",
        [(id_,) for id_ in (1, *EVERYBODY)],
    )


async def deliver_all(conn: Connection, batch: int) -> None:
    """What is pending."""
    for position in await pending(conn, batch):
        async with conn.transaction():
            await deliver_at_once(conn, TagSets(), batch, position, cause=None)


async def copies(conn: asyncpg.Connection) -> dict[int, int]:
    """The message of each recipient who has it."""
    rows = await conn.fetch("SELECT user_id, conversation_id FROM participants WHERE user_id <> 1")
    return {row["user_id"]: row["conversation_id"] for row in rows}


async def listed(conn: Connection, batch: int) -> dict[int, tuple[str, str | None]]:
    """State and error of each."""
    found = await list_recipients(conn, batch, list(RecipientState), after=0, limit=1000)
    return {row.user_id: (row.state, row.error) for row in found}


@pytest.mark.parametrize("chunk_size", [1, 4, 10])
@pytest.mark.parametrize("gone", [[101], [110], [103, 104, 107], list(EVERYBODY)])
@pytest.mark.parametrize("state", ["created", "paused"])
async def test_who_is_deleted_gets_nothing_and_the_others_what_they_would_have(
    conn: asyncpg.Connection, chunk_size: int, gone: list[int], state: str
) -> None:
    """Ids included: they say in which order sends were accepted."""
    batches = Batches(conn)
    batch = await batches.accept(EVERYBODY, chunk_size=chunk_size)
    expected = {
        row["user_id"]: row["id"]
        for row in await conn.fetch(
            "SELECT u.user_id, first_id + n - 1 AS id FROM chunks, unnest(recipients) WITH ORDINALITY AS u(user_id, n)"
        )
        if row["user_id"] not in gone
    }
    await batches.set_state(batch, state)

    await apply(conn, [deleted(user) for user in gone])
    waiting = await listed(conn, batch)
    await batches.set_state(batch, "created")
    await deliver_all(conn, batch)

    assert waiting == {user: ("skipped", "user_deleted") if user in gone else ("pending", None) for user in EVERYBODY}
    assert await copies(conn) == expected
    assert await listed(conn, batch) == {
        user: ("skipped", "user_deleted") if user in gone else ("delivered", None) for user in EVERYBODY
    }
    row = await conn.fetchrow("SELECT state, total, delivered, failed, skipped FROM batches")
    assert tuple(row or ()) == ("sent", 10, 10 - len(gone), 0, len(gone))


async def test_one_after_the_other(conn: asyncpg.Connection) -> None:
    batch = await Batches(conn).accept(EVERYBODY, chunk_size=5)

    for user in (103, 104, 101, 108):
        await apply(conn, [deleted(user)])
        await apply(conn, [deleted(user, 1)])  # said again
    await deliver_all(conn, batch)

    assert (await copies(conn)).keys() == set(EVERYBODY) - {101, 103, 104, 108}
    row = await conn.fetchrow("SELECT state, delivered, skipped FROM batches")
    assert tuple(row or ()) == ("sent", 6, 4)


async def test_who_came_back_to_life_before_the_event_was_read_gets_it(conn: asyncpg.Connection) -> None:
    """Events come out of order."""
    batch = await Batches(conn).accept(EVERYBODY, chunk_size=5)
    alive = BODIES["user_updated"].model_validate({"user_id": 103, "workflow_state": "registered"})

    await apply(conn, [DirectoryEvent("user_updated", NOW + timedelta(seconds=9), alive)])
    await apply(conn, [deleted(103)])
    await deliver_all(conn, batch)

    assert (await copies(conn)).keys() == set(EVERYBODY)


async def test_who_is_merged_is_not_skipped_for_being_deleted(conn: asyncpg.Connection) -> None:
    """Of an account that is merged the target has it."""
    batch = await Batches(conn).accept([101, 102], chunk_size=2)

    await apply(conn, [merged(101, 110), deleted(102)])
    await deliver_all(conn, batch)

    assert (await copies(conn)).keys() == {110}
    assert await listed(conn, batch) == {102: ("skipped", "user_deleted"), 110: ("delivered", None)}


@pytest.mark.parametrize("gone", [101, 103, 105])
async def test_a_delivery_that_read_its_chunk_before(conn: asyncpg.Connection, gone: int) -> None:
    batch = await Batches(conn).accept(range(101, 106), chunk_size=5)
    read = await read_chunk(conn, batch, 0)
    assert isinstance(read, PendingChunk)
    await apply(conn, [deleted(gone)])

    async with conn.transaction():
        assert isinstance(await deliver_chunk(conn, TagSets(), read, cause=None), ChunkOutcome)
    await deliver_all(conn, batch)

    assert (await copies(conn)).keys() == set(range(101, 106)) - {gone}


async def test_a_deletion_does_not_wait_for_a_delivery(conn: asyncpg.Connection, pool: asyncpg.Pool) -> None:
    """Who is just being written to gets the message."""
    batch = await Batches(conn).accept([101, 102], chunk_size=2)
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM chunks FOR UPDATE")
        await apply(conn, [deleted(101)])

    await deliver_all(conn, batch)
    assert (await copies(conn)).keys() == {101, 102}


async def test_the_batch_of_a_chunk_that_is_settled_is_not_touched(conn: asyncpg.Connection) -> None:
    batch = await Batches(conn).accept([101, 102], chunk_size=1)
    async with conn.transaction():
        assert not isinstance(await deliver_at_once(conn, TagSets(), batch, 0, cause=None), Nothing)
    await chunks.fail_chunk(conn, batch, 1, error="no", cause=None)

    await apply(conn, [deleted(101), deleted(102)])

    assert await listed(conn, batch) == {101: ("delivered", None), 102: ("failed", "no")}
