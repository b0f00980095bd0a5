"""The outbox as relays see it: lanes, order, who waits and what returns."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.domain.event_metadata import Cause
from service.domain.outbox import BatchEventRow, MessagesRow
from service.runtime.ids import BLOCK, IdBlocks
from sql import outbox
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.outbox import record_message

CAUSE = Cause({"job_id": "deliver.7.12"}, "00-a-b-01")
AT = datetime(2024, 5, 1, 12, 34, 56, tzinfo=UTC)
LANES = 16
LIMITS = ("synchronous_commit", "idle_in_transaction_session_timeout", "lock_timeout")
NO_PATIENCE, PATIENCE = timedelta(), timedelta(hours=1)


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another relay's connection."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def record(conn: Connection, conversation_id: int, message_id: int, cause: Cause = CAUSE) -> None:
    """A message."""
    await record_message(conn, cause, conversation_id, message_id, at=AT)


async def record_chunk(conn: Connection, first_id: int, copies: int) -> None:
    """New conversations, in one row."""
    await conn.execute(
        "INSERT INTO outbox (lane, event, author_id, created_at, first_id, copies, cause)"
        " VALUES (outbox_lane($1), 'delivered', 42, $2, $1, $3, '{}')",
        first_id,
        AT,
        copies,
    )


async def taken(conn: Connection) -> Sequence[MessagesRow | BatchEventRow]:
    """The rows that a relay gets."""
    found = await outbox.take_events(conn, patience=PATIENCE, copies=100, rows=100)
    return found.rows if found else ()


async def take(
    conn: Connection,
    *,
    patience: timedelta = PATIENCE,
    copies: int = 100,
    rows: int = 100,
    **lanes: Collection[int],
) -> list[int]:
    """Ids of the messages that a relay gets; ``lanes``: resting and doubtful ones."""
    found = await outbox.take_events(conn, patience=patience, copies=copies, rows=rows, **lanes)
    return [
        message for row in (found.rows if found else ()) if isinstance(row, MessagesRow) for _, message in row.pairs
    ]


async def test_what_was_recorded_comes_out_as_it_was(conn: asyncpg.Connection) -> None:
    before = datetime.now(UTC)
    await record(conn, 5, 17)

    async with conn.transaction():
        (row,) = await taken(conn)

    assert isinstance(row, MessagesRow)
    assert (row.event, row.cause, row.author_id, row.created_at) == ("delivered", CAUSE, 42, AT)
    assert list(row.pairs) == [(5, 17)]
    assert abs(row.recorded_at - before) < timedelta(minutes=1)
    assert await conn.fetchval("SELECT count(*) FROM outbox") == 0


async def test_the_account_has_its_uuid_as_well_once_that_is_known(conn: asyncpg.Connection) -> None:
    """By the directory, which may learn it later; the id in the cause is global (canvas/events.md 1.1)."""
    await conn.execute(
        "INSERT INTO accounts (id, root_account_uuid, as_of) VALUES (1, 'a-1', $1), (2, NULL, $1), (3, 'a-3', $1)",
        AT,
    )
    for account in (1, 2, 4):
        await record(conn, 5, 17, Cause({"root_account_id": f"1000000000000{account}", "job_tag": "deliver"}))

    async with conn.transaction():
        found = await taken(conn)

    assert [row.cause.metadata for row in found] == [
        {"root_account_id": "10000000000001", "root_account_uuid": "a-1", "job_tag": "deliver"},
        {"root_account_id": "10000000000002", "job_tag": "deliver"},
        {"root_account_id": "10000000000004", "job_tag": "deliver"},
    ]


async def test_a_chunk_comes_out_as_pairs(conn: asyncpg.Connection) -> None:
    await record_chunk(conn, 4000, 3)

    async with conn.transaction():
        (row,) = await taken(conn)

    assert isinstance(row, MessagesRow)
    assert list(row.pairs) == [(4000, 4000), (4001, 4001), (4002, 4002)]


async def test_an_attempt_that_does_not_commit_leaves_everything(conn: asyncpg.Connection) -> None:
    for message in (17, 18):
        await record(conn, 5, message)
    transaction = conn.transaction()
    await transaction.start()
    assert await take(conn) == [17, 18]
    await transaction.rollback()

    async with conn.transaction():
        assert await take(conn) == [17, 18]


async def test_publishing_may_take_its_time_and_its_commit_waits_for_no_disk(conn: asyncpg.Connection) -> None:
    await record(conn, 5, 17)

    async with conn.transaction():
        assert await take(conn) == [17]
        inside = [await conn.fetchval(f"SHOW {name}") for name in LIMITS]

    assert inside == ["off", "5min", "0"]
    assert [await conn.fetchval(f"SHOW {name}") for name in LIMITS] != inside


async def test_a_lane_is_one_relays_at_a_time_and_the_others_take_others(
    conn: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    await record(conn, 5, 17)
    await record(conn, 5 + BLOCK, 18)
    await record(conn, 6, 19)

    async with conn.transaction():
        assert await take(conn, rows=1) == [17]
        async with other.transaction():
            # Not 19, although no relay has locked it: it comes behind 17, which may yet return.
            assert await take(other) == [18]
            async with conn.transaction():
                assert await take(conn, rows=1) == [19]
        async with other.transaction():
            assert await take(other) == []
    async with other.transaction():
        assert await take(other) == []


async def test_the_ids_of_a_block_share_a_lane(conn: asyncpg.Connection) -> None:
    """New conversations of a chunk are in one row, which has one lane."""
    first = await conn.fetchval("SELECT nextval('id_blocks')")

    lanes = await conn.fetch(
        "SELECT DISTINCT outbox_lane(id) FROM generate_series($1::bigint, $2::bigint) id", first, first + BLOCK - 1
    )

    assert len(lanes) == 1


async def test_no_id_is_handed_out_twice(pool: asyncpg.Pool) -> None:
    """By one process or several, by the one or the block, to requests that ask at the same time."""
    one, other = IdBlocks(), IdBlocks()

    async def take(blocks: IdBlocks, count: int) -> range:
        async with pool.acquire() as conn:
            first = await blocks.take(conn, count)
        return range(first, first + count)

    asked = [(one, BLOCK), (other, 1), (one, 1), (one, BLOCK - 1), (other, BLOCK - 1), (one, 1), (other, 1), (one, 2)]
    taken = [*await asyncio.gather(*(take(*each) for each in asked)), *[await take(*each) for each in asked]]

    assert len({id_ for ids in taken for id_ in ids}) == sum(map(len, taken))


async def test_the_lane_that_waits_longest_comes_first(conn: asyncpg.Connection) -> None:
    order = [5 + BLOCK * lane for lane in (3, 0, 9, 7)]
    for conversation in order:
        await record(conn, conversation, conversation)

    for conversation in order:
        async with conn.transaction():
            assert await take(conn) == [conversation]


async def test_resting_lanes_are_left_alone_and_doubtful_ones_come_last(conn: asyncpg.Connection) -> None:
    for lane in (3, 0, 9):
        await record(conn, 5 + BLOCK * lane, lane)

    found = []
    for _ in range(3):
        async with conn.transaction():
            found.append(await take(conn, resting=[9], doubtful=[3, 4]))

    assert found == [[0], [3], []]


async def test_the_lag_is_the_age_of_the_oldest_row_of_any_lane(conn: asyncpg.Connection) -> None:
    assert await outbox.outbox_lag(conn) == 0
    for lane, age in ((3, 10), (0, 100), (9, 50)):
        await record(conn, 5 + BLOCK * lane, lane)
        await conn.execute("UPDATE outbox SET recorded_at = now() - $1 * interval '1 s' WHERE lane = $2", age, lane)

    assert 100 <= await outbox.outbox_lag(conn) < 200


async def test_an_attempt_is_bounded_by_copies_to_within_a_row(conn: asyncpg.Connection) -> None:
    for n in range(3):
        await record_chunk(conn, BLOCK * LANES * (n + 1), 10)

    found = []
    for _ in range(3):
        async with conn.transaction():
            found.append(len(await take(conn, copies=11)))

    assert found == [20, 10, 0]


async def test_an_attempt_is_bounded_by_rows(conn: asyncpg.Connection) -> None:
    for message in range(17, 22):
        await record(conn, 5, message)

    async with conn.transaction():
        assert await take(conn, rows=3) == [17, 18, 19]


async def test_rows_come_in_their_order_however_the_statement_is_planned(conn: asyncpg.Connection) -> None:
    """What a DELETE brings back has no order of its own."""
    for message in range(17, 21):
        await record(conn, 5, message)
    await conn.execute("UPDATE outbox SET created_at = created_at WHERE message_ids[1] < 19")  # now behind the others

    for way in ("nestloop", "hashjoin", "mergejoin"):
        transaction = conn.transaction()
        await transaction.start()
        for other in {"nestloop", "hashjoin", "mergejoin"} - {way}:
            await conn.execute(f"SET LOCAL enable_{other} = off")
        assert await take(conn) == [17, 18, 19, 20]
        await transaction.rollback()


async def test_while_a_bulk_send_is_written_young_rows_wait(conn: asyncpg.Connection) -> None:
    batch = await Batches(conn).accept([10, 11], chunk_size=2)
    await record(conn, 5, 17)

    for state in ("created", "sending"):
        await Batches(conn).set_state(batch, state)
        async with conn.transaction():
            assert await take(conn, patience=PATIENCE) == []
    async with conn.transaction():
        assert await take(conn, patience=NO_PATIENCE) == [17]
    await record(conn, 5, 18)
    await Batches(conn).set_state(batch, "sent")
    async with conn.transaction():
        assert await take(conn, patience=PATIENCE) == [18]


async def test_for_a_bulk_send_that_stands_still_no_row_waits(conn: asyncpg.Connection) -> None:
    await Batches(conn).accept([10, 11], chunk_size=1)
    await conn.execute("UPDATE batches SET state = 'sending', created_at = now() - interval '1 minute'")
    await record(conn, 5, 17)

    async with conn.transaction():
        assert await take(conn) == [17]
    await record(conn, 5, 18)
    await conn.execute("UPDATE chunks SET state = 'delivered', updated_at = clock_timestamp() WHERE position = 0")
    async with conn.transaction():
        assert await take(conn) == []
    await conn.execute("UPDATE chunks SET updated_at = now() - interval '1 minute'")
    async with conn.transaction():
        assert await take(conn) == [18]


async def test_the_progress_of_a_bulk_send_never_waits(conn: asyncpg.Connection) -> None:
    await Batches(conn).accept([10, 11], chunk_size=2)
    await record(conn, 5, 17)
    body = '{"batch_id": "7", "state": "sending", "total": "2", "delivered": "1", "failed": "0", "skipped": "0"}'
    await conn.execute("INSERT INTO outbox (lane, event, body, cause) VALUES (16, 'batch_started', $1, '{}')", body)

    async with conn.transaction():
        (row,) = await taken(conn)

    assert isinstance(row, BatchEventRow)
    assert (row.event, row.body["delivered"]) == ("batch_started", "1")


async def test_unroutable_events_are_counted_by_name_with_their_times(conn: asyncpg.Connection) -> None:
    await outbox.count_unroutable(conn, {"conversation_created": 2, "batch_started": 1})
    (_, first) = await outbox.unroutable_events(conn)
    await outbox.count_unroutable(conn, {"conversation_created": 3})

    batch, created = await outbox.unroutable_events(conn)

    assert (batch.event, batch.count, created.event, created.count) == ("batch_started", 1, "conversation_created", 5)
    assert created.first_at == first.first_at
    assert created.last_at > first.last_at
