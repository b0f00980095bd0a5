"""What one statement writes when a chunk is delivered, into threads that it opens and into those that are there."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_at_once, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.domain.contexts import Context, ContextType
from service.domain.event_metadata import Cause
from service.runtime.postgres import create_pool
from service.runtime.settings import Settings
from sql import chunks
from sql.chunks import PendingChunk
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.user_merges import until_waiting
from tests.support.waiting import until

CAUSE = Cause({"root_account_id": "1"})
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLAGS = ("has_attachments", "has_media_objects")


async def deliver(conn: Connection, batch_id: int, position: int = 0) -> ChunkOutcome | Nothing:
    """As a worker does."""
    async with conn.transaction():
        return await deliver_at_once(conn, TagSets(), batch_id, position, cause=CAUSE)


async def accept(conn: asyncpg.Connection, at: datetime = NOW, *, flag: str | None = None) -> int:
    """A private batch by user 1 to user 10, accepted at that time; its one chunk is not delivered."""
    batch_id = await Batches(conn).accept([10], chunk_size=2)
    await conn.execute(
        "UPDATE sends SET created_at = $2, has_attachments = $3, has_media_objects = $4"
        " WHERE id = (SELECT send_id FROM batches WHERE id = $1)",
        batch_id,
        at,
        *(name == flag for name in FLAGS),
    )
    return batch_id


async def batch_row(conn: asyncpg.Connection, batch_id: int) -> asyncpg.Record:
    """The batch."""
    row = await conn.fetchrow("SELECT * FROM batches WHERE id = $1", batch_id)
    assert row is not None
    return row


async def test_a_batch_has_its_end_with_its_last_chunk_and_not_before(conn: asyncpg.Connection) -> None:
    batch_id = await Batches(conn).accept([10, 11, 12], chunk_size=2)
    before = datetime.now(UTC) - timedelta(minutes=1)

    await deliver(conn, batch_id, 0)
    under_way = await batch_row(conn, batch_id)
    await deliver(conn, batch_id, 1)
    ended = await batch_row(conn, batch_id)

    assert (under_way["state"], under_way["delivered"], under_way["finished_at"]) == ("sending", 2, None)
    assert (ended["state"], ended["delivered"]) == ("sent", 3)
    assert before < under_way["started_at"] == ended["started_at"] <= ended["finished_at"]


@pytest.mark.parametrize("failed_first", [False, True])
async def test_a_batch_of_which_a_chunk_is_given_up_ends_in_error_with_its_last_chunk(
    conn: asyncpg.Connection, *, failed_first: bool
) -> None:
    batch_id = await Batches(conn).accept([10, 11, 12], chunk_size=2)

    if failed_first:
        await chunks.fail_chunk(conn, batch_id, 0, error="no", cause=CAUSE)
        under_way = await batch_row(conn, batch_id)
        await deliver(conn, batch_id, 1)
    else:
        await deliver(conn, batch_id, 0)
        under_way = await batch_row(conn, batch_id)
        await chunks.fail_chunk(conn, batch_id, 1, error="no", cause=CAUSE)
    ended = await batch_row(conn, batch_id)

    assert (under_way["state"], under_way["finished_at"]) == ("sending", None)
    assert (ended["state"], ended["delivered"], ended["failed"]) == ("error", *((1, 2) if failed_first else (2, 1)))
    assert under_way["started_at"] == ended["started_at"] <= ended["finished_at"]
    events = await conn.fetch("SELECT event FROM outbox WHERE lane = 16 ORDER BY id")
    assert [row["event"] for row in events] == ["batch_started", "batch_progress", "batch_failed"]


async def test_events_of_a_reused_thread_are_in_the_lane_of_the_thread(conn: asyncpg.Connection) -> None:
    """Of its conversation, whatever the ids of the new messages are: one lane keeps their order."""
    first, second = await accept(conn), await accept(conn)
    await deliver(conn, first)
    await deliver(conn, second)

    rows = await conn.fetch(
        "SELECT lane, outbox_lane(coalesce(first_id, conversation_ids[1])) AS own, outbox_lane(message_ids[1]) AS fresh"
        " FROM outbox WHERE event = 'delivered' ORDER BY id"
    )
    opened, reused = rows
    assert opened["lane"] == opened["own"] == reused["lane"] == reused["own"] != reused["fresh"]


@pytest.mark.parametrize("state", ["delivered", "failed"])
async def test_a_chunk_that_is_settled_is_not_given_up(conn: asyncpg.Connection, state: str) -> None:
    """A worker that gives up late finds that another one was quicker: people would be counted twice."""
    batch_id = await Batches(conn).accept([10, 11, 12], chunk_size=2)
    if state == "delivered":
        await deliver(conn, batch_id)
    else:
        await chunks.fail_chunk(conn, batch_id, 0, error="no", cause=CAUSE)
    before = await batch_row(conn, batch_id)

    assert await chunks.fail_chunk(conn, batch_id, 0, error="late", cause=CAUSE) is None

    assert await batch_row(conn, batch_id) == before
    assert await conn.fetchval("SELECT state FROM chunks WHERE position = 0") == state


@pytest.mark.parametrize(
    ("state", "at_the_end", "event"),
    [("paused", "error", "batch_failed"), ("cancelled", "cancelled", "batch_finished")],
)
async def test_a_chunk_of_a_stopped_batch_that_is_given_up_does_not_set_it_going(
    conn: asyncpg.Connection, state: str, at_the_end: str, event: str
) -> None:
    """What was cancelled stays so; its end is said once, when all are settled."""
    batch_id = await Batches(conn).accept([10, 11, 12], chunk_size=2)
    await Batches(conn).set_state(batch_id, state)

    assert await chunks.fail_chunk(conn, batch_id, 0, error="no", cause=CAUSE) == state

    row = await batch_row(conn, batch_id)
    assert (row["state"], row["failed"], row["finished_at"]) == (state, 2, None)
    recorded = await conn.fetch("SELECT event, body ->> 'state' AS state FROM outbox ORDER BY id")
    assert [tuple(each) for each in recorded] == [("batch_started", state), ("batch_progress", state)]

    assert await chunks.fail_chunk(conn, batch_id, 1, error="no", cause=CAUSE) == at_the_end

    assert (await batch_row(conn, batch_id))["finished_at"] is not None
    *_, last = await conn.fetch("SELECT event, body ->> 'state' AS state FROM outbox ORDER BY id")
    assert tuple(last) == (event, at_the_end)


@pytest.mark.parametrize("state", ["delivered", "failed"])
async def test_a_chunk_that_is_settled_is_neither_postponed_nor_put_off(conn: asyncpg.Connection, state: str) -> None:
    """By a worker that fails late, or waits in vain for its lock."""
    batch_id = await Batches(conn).accept([10, 11], chunk_size=2)
    await conn.execute("UPDATE chunks SET state = $1, due_at = now() + interval '1 day'", state)
    before = await conn.fetchrow("SELECT * FROM chunks")

    late = await chunks.postpone_chunk(conn, batch_id, 0, error="late", first_wait=timedelta(seconds=1))
    await chunks.defer_chunk(conn, batch_id, 0, wait=timedelta(seconds=1))

    assert late is None
    assert await conn.fetchrow("SELECT * FROM chunks") == before


@pytest.mark.parametrize("state", ["paused", "cancelled"])
async def test_a_batch_that_is_stopped_between_reading_and_writing_is_not_delivered(
    conn: asyncpg.Connection, state: str
) -> None:
    batch_id = await accept(conn)
    pending = await read_chunk(conn, batch_id, 0)
    assert isinstance(pending, PendingChunk)
    await Batches(conn).set_state(batch_id, state)

    async with conn.transaction():
        outcome = await deliver_chunk(conn, TagSets(), pending, cause=CAUSE)

    assert outcome == Nothing("pending", state)
    assert (await batch_row(conn, batch_id))["delivered"] == 0
    for table in ("conversations", "participants", "outbox"):
        assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_of_two_who_write_a_chunk_at_once_the_second_waits_and_finds_it_done(
    conn: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """Without a conflict, after which all its work would have to be done again."""
    pending = await read_chunk(conn, await accept(conn), 0)
    assert isinstance(pending, PendingChunk)

    async def write(own: Connection) -> ChunkOutcome | Nothing:
        async with own.transaction():
            return await deliver_chunk(own, TagSets(), pending, cause=CAUSE)

    async def waits() -> bool:
        return bool(await pool.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", second.get_server_pid()))

    async with pool.acquire() as second:
        async with conn.transaction():
            assert isinstance(await deliver_chunk(conn, TagSets(), pending, cause=CAUSE), ChunkOutcome)
            writing = asyncio.create_task(write(second))
            await until(waits)
        assert await writing == Nothing("delivered", "sent")


@pytest.mark.parametrize("author", [1, 999])
@pytest.mark.parametrize("whose", ["user_id = :author", "user_id <> :author", "true"])
async def test_what_is_written_into_a_reused_thread_meanwhile_is_counted_too(
    conn: asyncpg.Connection, settings: Settings, author: int, whose: str
) -> None:
    """The delivery waits for it, and goes on with the rows as they are then, not as they were."""
    people, batches = list(range(10, 310)), Batches(conn)
    await deliver(conn, await batches.accept(people, chunk_size=300, sender=author))
    again = await batches.accept(people, chunk_size=300, sender=author)
    whose = whose.replace(":author", str(author))
    pool = await create_pool(settings)  # plans as processes have them
    async with pool.acquire() as second:
        async with conn.transaction():
            await conn.execute(f"UPDATE participants SET message_count = message_count + 1 WHERE {whose}")
            delivering = asyncio.create_task(deliver(second, again))
            await until_waiting(conn)
        assert isinstance(await delivering, ChunkOutcome)
    await pool.close()

    wrong = f"SELECT * FROM participants WHERE message_count <> 2 + ({whose})::integer"
    assert await conn.fetch(wrong) == []


async def test_a_late_chunk_does_not_move_a_thread_back(conn: asyncpg.Connection) -> None:
    """Messages are dated when they were accepted; one that is written late is older than what is there."""
    earlier, later = await accept(conn, NOW), await accept(conn, NOW + timedelta(hours=1))

    await deliver(conn, later)
    await deliver(conn, earlier)

    rows = await conn.fetch("SELECT * FROM participants ORDER BY user_id")
    sender, recipient = rows
    assert recipient["last_message_at"] == NOW + timedelta(hours=1)
    assert sender["last_authored_at"] == sender["visible_last_authored_at"] == NOW + timedelta(hours=1)
    assert [row["message_count"] for row in rows] == [2, 2]


async def test_a_context_has_one_key_for_single_and_for_bulk_sends(conn: asyncpg.Connection) -> None:
    """The one takes it from the domain, the other from the schema; by it both find the same private thread."""
    kinds = (ContextType.COURSE, ContextType.GROUP, ContextType.ACCOUNT)
    contexts = [Context(kind, id_) for kind in kinds for id_ in (1, 2, 3, 10**12)]

    found = [await conn.fetchval("SELECT context_key($1, $2)", each.type, each.id) for each in contexts]

    assert found == [each.key for each in contexts]
    assert len({0, *found}) == len(contexts) + 1
    assert await conn.fetchval("SELECT context_key(NULL, NULL)") == 0


@pytest.mark.parametrize("flag", FLAGS)
async def test_a_reused_thread_has_the_flags_of_all_its_messages(conn: asyncpg.Connection, flag: str) -> None:
    with_it, without = await accept(conn, flag=flag), [await accept(conn), await accept(conn)]
    others = [other for other in FLAGS if other != flag]

    found = []
    for batch_id in (without[0], with_it, without[1]):
        await deliver(conn, batch_id)
        rows = [
            *await conn.fetch("SELECT has_attachments, has_media_objects FROM conversations"),
            *await conn.fetch("SELECT has_attachments, has_media_objects FROM participants"),
        ]
        found.append([row[flag] for row in rows])
        assert not any(row[other] for row in rows for other in others)

    assert found == [[False] * 3, [True] * 3, [True] * 3]
