"""Moves of a batch: which state allows which, what each leaves of those who wait, and who wins a race."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import asyncpg
import pytest

from service.application.directory.events import apply
from service.application.messages.batch_moves import move_batch
from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_at_once, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.domain.batch import BatchState, Move
from service.domain.errors import Code, Refusal
from service.domain.event_metadata import Cause
from service.domain.outbox import BatchEventRow
from service.runtime.postgres import UNAVAILABLE
from sql import chunks, outbox
from sql.batch_moves import settle_cancelled
from sql.batches import Batch
from sql.connection import Connection
from sql.turns import Limits, take_turns
from tests.support.batch_story import ALLOWED, BatchEvent, assert_counted, assert_story, steps
from tests.support.batches import Batches
from tests.support.bulk_send_invariants import copies
from tests.support.school import School
from tests.support.user_merges import merged
from tests.support.waiting import until

CAUSE = Cause({"root_account_id": "10000000000001"})
STATES = [*BatchState]


async def move(conn: Connection, school: School, batch_id: int, step: str) -> Batch:
    """As the sender."""
    return await move_batch(conn, Move(step), batch_id, school.teacher, accounts=None, cause=CAUSE)


async def moved(pool: asyncpg.Pool, school: School, batch_id: int, step: str) -> bool:
    """On a connection of its own; whether the state allowed it."""
    async with pool.acquire() as conn:
        try:
            await move(conn, school, batch_id, step)
        except Refusal as refusal:
            if (refusal.code, refusal.attribute) != (Code.CONFLICT, "state"):
                raise
            return False
    return True


async def deliver(conn: Connection, batch_id: int, position: int) -> ChunkOutcome | Nothing:
    """One chunk, in a transaction of its own."""
    async with conn.transaction():
        return await deliver_at_once(conn, TagSets(), batch_id, position, cause=CAUSE)


async def fail(conn: Connection, batch_id: int, position: int) -> None:
    """A chunk is given up."""
    await chunks.fail_chunk(conn, batch_id, position, error="no", cause=CAUSE)


@asynccontextmanager
async def in_work(pool: asyncpg.Pool, school: School, batch_id: int, position: int) -> AsyncIterator[Connection]:
    """During the block a worker, of that connection, writes the chunk: another send is in its way until the end."""
    async with pool.acquire() as other, pool.acquire() as worker, pool.acquire() as observer:
        student = await observer.fetchval(
            "SELECT recipients[1] FROM chunks WHERE batch_id = $1 AND position = $2", batch_id, position
        )
        transaction = other.transaction()
        await transaction.start()
        rival = await Batches(other).accept([student], chunk_size=1, sender=school.teacher)
        await deliver_at_once(other, TagSets(), rival, 0, cause=None)
        work = asyncio.create_task(deliver(worker, batch_id, position))
        pid = worker.get_server_pid()
        await until(lambda: observer.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid))
        yield worker
        await transaction.rollback()
        with suppress(*UNAVAILABLE):
            await work


async def kill(conn: asyncpg.Connection, worker: Connection) -> None:
    """The worker dies; what it has not committed is undone when this returns."""
    pid = worker.get_server_pid()
    await conn.execute("SELECT pg_terminate_backend($1)", pid)
    await until(lambda: conn.fetchval("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $1", pid))


async def taken_events(conn: asyncpg.Connection) -> list[BatchEvent]:
    """Of batches, as they were recorded; they are gone then."""
    found: list[BatchEvent] = []
    while True:
        async with conn.transaction():
            taken = await outbox.take_events(conn, patience=timedelta(), copies=1000, rows=1000)
        if taken is None:
            return found
        for row in taken.rows:
            if isinstance(row, BatchEventRow):
                (event,) = row.events()
                found.append(BatchEvent(event.name, event.message_id, row.body))


async def states_of(conn: asyncpg.Connection, batch_id: int) -> list[tuple[str, str | None]]:
    """(state, error) of the chunks."""
    rows = await conn.fetch("SELECT state, error FROM chunks WHERE batch_id = $1 ORDER BY position", batch_id)
    return [tuple(row) for row in rows]


@pytest.fixture
async def batch_id(conn: asyncpg.Connection, school: School) -> int:
    """To 8 of the students, in chunks of two. The tags of its threads are known: no delivery waits for another's."""
    before = await Batches(conn).accept(school.students[-1:], chunk_size=1, sender=school.teacher)
    async with conn.transaction():
        await deliver_at_once(conn, TagSets(), before, 0, cause=None)
    await conn.execute("DELETE FROM chunks; DELETE FROM batches")
    return await Batches(conn).accept(school.students[:8], chunk_size=2, sender=school.teacher)


@pytest.mark.parametrize("step", [*Move])
@pytest.mark.parametrize("state", STATES)
async def test_a_move_is_made_from_the_states_that_allow_it(
    *, conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, batch_id: int, state: str, step: str
) -> None:
    await fail(conn, batch_id, 0)
    await Batches(conn).set_state(batch_id, state)

    assert await moved(pool, school, batch_id, step) == (state in ALLOWED[step])

    after = {"cancel": "cancelled", "pause": "paused", "resume": "sending", "retry": "sending"}[step]
    expected = after if state in ALLOWED[step] else state
    assert await conn.fetchval("SELECT state FROM batches") == expected


@pytest.mark.parametrize("state", ["sent", "cancelled"])
async def test_where_nobody_failed_there_is_nothing_to_retry(
    conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, batch_id: int, *, state: str
) -> None:
    await Batches(conn).set_state(batch_id, state)

    assert not await moved(pool, school, batch_id, "retry")


async def test_a_batch_of_another_sender_is_not_found(conn: asyncpg.Connection, school: School, batch_id: int) -> None:
    for sender, batch in ((school.students[0], batch_id), (school.teacher, batch_id + 1)):
        with pytest.raises(Refusal) as refused:
            await move_batch(conn, Move.CANCEL, batch, sender, accounts=None, cause=CAUSE)
        assert refused.value.code is Code.NOT_FOUND


async def test_a_cancel_leaves_what_is_delivered_and_skips_the_others(
    conn: asyncpg.Connection, school: School, batch_id: int
) -> None:
    await deliver(conn, batch_id, 1)
    await fail(conn, batch_id, 2)

    left = (await move(conn, school, batch_id, "cancel")).progress

    assert (left.state, left.delivered, left.failed, left.skipped) == ("cancelled", 2, 2, 4)
    assert left.finished_at is not None
    assert await states_of(conn, batch_id) == [
        ("skipped", "cancelled"),
        ("delivered", None),
        ("failed", "no"),
        ("skipped", "cancelled"),
    ]
    assert [event.name for event in await taken_events(conn)] == [
        "batch_started",
        "batch_progress",
        "batch_progress",
        "batch_finished",
    ]


async def test_a_scheduled_batch_that_is_cancelled_has_skipped_everybody(
    conn: asyncpg.Connection, school: School, batch_id: int
) -> None:
    await Batches(conn).set_state(batch_id, "scheduled")

    left = (await move(conn, school, batch_id, "cancel")).progress

    assert (left.skipped, left.started_at, left.finished_at is not None) == (8, None, True)
    assert [event.name for event in await taken_events(conn)] == ["batch_finished"]


async def test_what_is_in_work_at_a_cancel_ends_and_with_it_the_batch(
    conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, batch_id: int
) -> None:
    """That it began is said then as well: two have the message."""
    async with in_work(pool, school, batch_id, 3):
        left = (await move(conn, school, batch_id, "cancel")).progress
        assert (left.skipped, left.finished_at) == (6, None)
        assert await settle_cancelled(conn, CAUSE) == 0

    assert await states_of(conn, batch_id) == [("skipped", "cancelled")] * 3 + [("delivered", None)]
    assert await assert_counted(conn, batch_id) == "cancelled"
    recorded = await taken_events(conn)
    assert [event.name for event in recorded] == ["batch_progress", "batch_started", "batch_finished"]
    assert recorded[-1].body["state"] == "cancelled"


async def test_what_does_not_end_after_a_cancel_is_settled_later(
    conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, batch_id: int
) -> None:
    """Its worker died; no batch stays short of its total."""
    async with in_work(pool, school, batch_id, 3) as worker:
        await move(conn, school, batch_id, "cancel")
        await kill(conn, worker)

    assert await conn.fetchval("SELECT finished_at FROM batches WHERE id = $1", batch_id) is None
    assert await settle_cancelled(conn, CAUSE) == 1
    assert await settle_cancelled(conn, CAUSE) == 0

    assert await states_of(conn, batch_id) == [("skipped", "cancelled")] * 4
    assert await assert_counted(conn, batch_id) == "cancelled"
    assert [event.name for event in await taken_events(conn)] == ["batch_progress", "batch_finished"]


@pytest.mark.parametrize("step", ["pause", "cancel"])
async def test_no_delivery_begins_after_the_answer(
    conn: asyncpg.Connection, school: School, batch_id: int, step: str
) -> None:
    """Not even of a chunk that was read before."""
    pending = await read_chunk(conn, batch_id, 0)
    assert isinstance(pending, chunks.PendingChunk)

    state = (await move(conn, school, batch_id, step)).progress.state

    async with conn.transaction():
        outcome = await deliver_chunk(conn, TagSets(), pending, cause=CAUSE)
    assert outcome == Nothing("pending" if step == "pause" else "skipped", state)
    assert isinstance(await deliver(conn, batch_id, 1), Nothing)
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 1


async def test_a_paused_batch_whose_last_chunk_was_in_work_is_at_its_end(
    conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, batch_id: int
) -> None:
    for position in range(3):
        await deliver(conn, batch_id, position)
    async with in_work(pool, school, batch_id, 3):
        assert (await move(conn, school, batch_id, "pause")).progress.state == "paused"

    assert await assert_counted(conn, batch_id) == "sent"
    assert not await moved(pool, school, batch_id, "resume")


async def test_what_goes_on_is_commanded_anew(conn: asyncpg.Connection, school: School, batch_id: int) -> None:
    limits = Limits(in_flight=2, sender_pace=0, account_pace=0, root_account_id=1, ahead=timedelta())
    await conn.execute("UPDATE chunks SET due_at = 'infinity'")
    assert len(await take_turns(conn, batch_id, limits, patience=timedelta(hours=1))) == 2
    await conn.execute("UPDATE chunks SET attempts = 1, tried_at = now(), due_at = now() WHERE position = 3")
    await move(conn, school, batch_id, "pause")
    assert await chunks.take_due_chunks(conn, patience=timedelta(hours=1), limit=10) == []
    assert await take_turns(conn, batch_id, limits, patience=timedelta(hours=1)) == []

    await move(conn, school, batch_id, "resume")

    turns = [await take_turns(conn, batch_id, limits, patience=timedelta(hours=1)) for _ in range(2)]
    assert [sorted(turn.position for turn in taken) for taken in turns] == [[0, 1], []]
    assert await conn.fetchval("SELECT count(*) FROM chunks WHERE attempts > 0") == 0


async def test_a_retry_is_for_those_who_failed_and_nobody_else(
    conn: asyncpg.Connection, school: School, batch_id: int
) -> None:
    await deliver(conn, batch_id, 0)
    for position in (1, 2):
        await conn.execute("UPDATE chunks SET attempts = 5, redeliveries = 3 WHERE position = $1", position)
        await fail(conn, batch_id, position)
    await move(conn, school, batch_id, "cancel")
    first_ids = await conn.fetch("SELECT first_id FROM chunks ORDER BY position")

    going_on = (await move(conn, school, batch_id, "retry")).progress

    assert (going_on.state, going_on.delivered, going_on.failed, going_on.skipped) == ("sending", 2, 0, 2)
    assert going_on.finished_at is None
    rows = await conn.fetch("SELECT state, attempts, redeliveries, error FROM chunks ORDER BY position")
    waits = ("pending", 0, 0, None)
    assert [tuple(row) for row in rows] == [("delivered", 0, 0, None), waits, waits, ("skipped", 0, 0, "cancelled")]
    for position in range(4):
        await deliver(conn, batch_id, position)
    assert await assert_counted(conn, batch_id) == "sent"
    assert await conn.fetch("SELECT first_id FROM chunks ORDER BY position") == first_ids
    found = await copies(conn, batch_id)
    assert found == dict.fromkeys(school.students[:6], 1) | dict.fromkeys(school.students[6:8], 0)
    assert_story(await taken_events(conn), Counter(cancel=1, retry=1))


async def test_after_a_retry_chunks_may_be_cut_anew(conn: asyncpg.Connection, school: School, batch_id: int) -> None:
    """However often they were cut before: what stood in the way may be gone, and one recipient's fault left."""
    await conn.execute("UPDATE batches SET splits = 5")
    for position in range(4):
        await fail(conn, batch_id, position)

    await move(conn, school, batch_id, "retry")

    assert await chunks.begin_split(conn, batch_id, 0, free=5, for_each=10**6, most=10**6)


async def test_a_retry_does_not_send_what_a_cancel_has_left_in_work(
    conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, batch_id: int
) -> None:
    """It waits for that, and settles what did not end; that what was cancelled has ended is recorded before."""
    await fail(conn, batch_id, 0)
    async with in_work(pool, school, batch_id, 1), in_work(pool, school, batch_id, 2) as worker:
        await move(conn, school, batch_id, "cancel")
        retry = asyncio.create_task(moved(pool, school, batch_id, "retry"))
        await kill(conn, worker)
        assert not retry.done()
    assert await retry

    assert await states_of(conn, batch_id) == [
        ("pending", None),
        ("delivered", None),
        ("skipped", "cancelled"),
        ("skipped", "cancelled"),
    ]
    await deliver(conn, batch_id, 0)
    assert await assert_counted(conn, batch_id) == "sent"
    assert_story(await taken_events(conn), Counter(cancel=1, retry=1))


async def test_who_was_merged_meanwhile_gets_it_under_the_account_that_is_left(
    conn: asyncpg.Connection, school: School, batch_id: int
) -> None:
    """While the batch is paused, or after the chunk was given up."""
    gone, target, lost, other = school.students[0], school.students[100], school.students[2], school.students[101]
    await fail(conn, batch_id, 1)
    await move(conn, school, batch_id, "pause")
    await apply(conn, [merged(gone, target)])
    await move(conn, school, batch_id, "resume")
    for position in (0, 2, 3):
        await deliver(conn, batch_id, position)
    await apply(conn, [merged(lost, other)])

    await move(conn, school, batch_id, "retry")
    await deliver(conn, batch_id, 1)

    assert await assert_counted(conn, batch_id) == "sent"
    received = {target, other, *school.students[:8]} - {gone, lost}
    assert await copies(conn, batch_id) == dict.fromkeys(received, 1)


@pytest.mark.parametrize("step", [*Move])
async def test_of_two_moves_at_once_one_is_made(
    *, conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, batch_id: int, step: str
) -> None:
    await fail(conn, batch_id, 0)
    if step == "resume":
        await move(conn, school, batch_id, "pause")
    if step == "retry":
        await move(conn, school, batch_id, "cancel")
    await taken_events(conn)

    made = await asyncio.gather(*(moved(pool, school, batch_id, step) for _ in range(4)))

    assert sorted(made) == [False, False, False, True]
    assert len(await taken_events(conn)) == 1


async def attempt(worker: Connection, batch_id: int, position: int, fate: float) -> None:
    """At a chunk: it is given up, or written and undone, as when its worker dies, or written."""
    if fate < 0.1:
        async with worker.transaction():
            await settle_cancelled(worker, CAUSE, batch_id=batch_id, position=position)
            await fail(worker, batch_id, position)
    elif fate < 0.3:
        transaction = worker.transaction()
        await transaction.start()
        await deliver_at_once(worker, TagSets(), batch_id, position, cause=CAUSE)
        await transaction.rollback()
    else:
        await deliver(worker, batch_id, position)


@pytest.mark.parametrize("seed", range(12))
async def test_moves_at_random_amid_deliveries_keep_every_count(
    conn: asyncpg.Connection, pool: asyncpg.Pool, school: School, seed: int
) -> None:
    """Deliveries succeed, fail, are given up and commanded twice, two senders' windows move at once: at every look the
    counters are the recipients by state, and the events say what happened, each once."""
    chance = random.Random(seed)
    students = school.students[: chance.randint(1, 24)]
    batch_id = await Batches(conn).accept(students, chunk_size=chance.randint(1, 4), sender=school.teacher)
    positions = range(await conn.fetchval("SELECT count(*) FROM chunks"))
    made: Counter[str] = Counter()
    moving = asyncio.Event()

    async def work() -> None:
        async with pool.acquire() as worker:
            while not moving.is_set():
                await attempt(worker, batch_id, chance.choice(positions), chance.random())

    async def steer() -> None:
        for step in steps(chance):
            if await moved(pool, school, batch_id, step):
                made[step] += 1

    async def watch() -> None:
        while not moving.is_set():
            await assert_counted(conn, batch_id)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(work())
        group.create_task(watch())
        async with asyncio.TaskGroup() as steering:
            for _ in range(2):
                steering.create_task(steer())
        moving.set()

    made["resume"] += await moved(pool, school, batch_id, "resume")
    for position in positions:
        await deliver(conn, batch_id, position)
    await settle_cancelled(conn, CAUSE)
    assert await assert_counted(conn, batch_id) in ("sent", "error", "cancelled")
    delivered = await conn.fetch("SELECT recipients FROM chunks WHERE state = 'delivered'")
    has = {user_id for row in delivered for user_id in row["recipients"]}
    assert await copies(conn, batch_id) == {user_id: int(user_id in has) for user_id in students}
    assert_story(await taken_events(conn), made)
