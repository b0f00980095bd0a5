"""Chunks that fail are cut in two until the culprit stands alone, and what bounds that."""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta

import asyncpg
import pytest
import structlog

from service.application.dead_letters import revive
from service.application.messages import chunk_parts
from service.application.messages.chunk import ChunkOutcome, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import DeliverChunk
from service.runtime.settings import Settings
from sql import chunks
from sql.chunks import PendingChunk
from tests.support.batches import Batches, refused
from tests.support.bulk_send_invariants import copies
from workers.attempts import MAX_ATTEMPTS, MAX_REDELIVERIES, SUSPECT_REDELIVERIES, TOO_MANY_REDELIVERIES
from workers.deliver import Deliverer
from workers.outcome import DeadLetter, Done, Outcome


class Queue:
    """The queue of DeliverChunk, and a worker that takes what is in it, first in first out."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool) -> None:
        self.waiting: deque[DeliverChunk] = deque()
        self.dead: list[tuple[DeliverChunk, str]] = []
        self.handled = 0
        self.deliverer = Deliverer(settings, pool, self.command)

    async def command(self, command: DeliverChunk) -> None:
        self.waiting.append(command)

    async def work(self, first: Iterable[DeliverChunk] = ()) -> None:
        """Until nothing waits."""
        self.waiting.extend(first)
        while self.waiting:
            command = self.waiting.popleft()
            self.handled += 1
            self._end(command, await self.deliverer.handle(command))

    def _end(self, command: DeliverChunk, outcome: Outcome) -> None:
        assert isinstance(outcome, Done | DeadLetter)
        if isinstance(outcome, DeadLetter):
            self.dead.append((command, outcome.reason))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each failure is logged with its traceback, which takes longer to show than all the rest."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def queue(settings: Settings, pool: asyncpg.Pool) -> Queue:
    """Empty."""
    return Queue(settings, pool)


Sweep = Callable[[], Awaitable[list[DeliverChunk]]]


@pytest.fixture
def sweep(conn: asyncpg.Connection) -> Sweep:
    """So long after the last failure that each one counts, the commands of what is still pending."""

    async def wait() -> list[DeliverChunk]:
        await conn.execute("UPDATE chunks SET tried_at = tried_at - interval '1 year', due_at = now()")
        due = await chunks.take_due_chunks(conn, patience=timedelta(), limit=1_000_000)
        return [DeliverChunk(batch_id=each.batch_id, position=each.position) for each in due]

    return wait


async def counters(conn: asyncpg.Connection) -> tuple[object, ...]:
    """State, delivered, failed and skipped of the one batch."""
    return tuple(await conn.fetchrow("SELECT state, delivered, failed, skipped FROM batches") or ())


async def test_one_row_that_the_database_refuses_fails_alone_among_two_thousand(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, sweep: Sweep
) -> None:
    recipients = range(10_000, 12_000)
    culprit = 11_234
    batch = await batches.accept(recipients, chunk_size=2000)
    first_id = await conn.fetchval("SELECT first_id FROM chunks")

    async with refused(conn, f"NEW.user_id = {culprit}"):
        await queue.work([DeliverChunk(batch_id=batch, position=0)])
        assert await counters(conn) == ("sending", 1999, 0, 0)  # at once, before any wait
        levels = math.ceil(math.log2(len(recipients)))
        assert queue.handled <= 2 * levels + 1
        for _ in range(MAX_ATTEMPTS - 1):
            await queue.work(await sweep())

    assert await counters(conn) == ("error", 1999, 1, 0)
    assert await sweep() == []
    assert queue.handled <= MAX_ATTEMPTS * levels
    row = await conn.fetchrow("SELECT * FROM chunks WHERE state = 'failed'")
    assert row is not None
    assert (row["recipients"], row["attempts"]) == ([culprit], MAX_ATTEMPTS)
    assert row["error"] == f"RaiseError: user {culprit} is refused"
    assert [reason for _, reason in queue.dead] == [row["error"]]
    assert await copies(conn, batch) == {user: int(user != culprit) for user in recipients}
    # Ids are those of the acceptance.
    assert [
        user
        for (user,) in await conn.fetch("SELECT user_id FROM participants WHERE user_id <> 1 ORDER BY conversation_id")
    ] == [user for user in recipients if user != culprit]
    assert await conn.fetchval("SELECT min(first_id) = $1 AND max(first_id) < $1 + 2000 FROM chunks", first_id)


async def test_a_dead_letter_of_one_recipient_is_requeued(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, sweep: Sweep
) -> None:
    batch = await batches.accept(range(10, 50), chunk_size=20)
    async with refused(conn, "NEW.user_id IN (14, 33)"):
        await queue.work(DeliverChunk(batch_id=batch, position=position) for position in range(2))
        while due := await sweep():
            await queue.work(due)
    assert await counters(conn) == ("error", 38, 2, 0)
    assert len(queue.dead) == 2

    bodies = [command.model_dump_json().encode() for command, _ in queue.dead]
    assert await revive(conn, bodies, due_after=timedelta()) == [None, None]
    await queue.work([command for command, _ in queue.dead])

    assert await counters(conn) == ("sent", 40, 0, 0)
    assert await copies(conn, batch) == dict.fromkeys(range(10, 50), 1)


async def test_where_everything_fails_chunks_are_cut_so_often_and_no_more(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_parts, "FREE_SPLITS", 7)
    monkeypatch.setattr(chunk_parts, "FOR_EACH", 250)
    batch = await batches.accept(range(10, 1010), chunk_size=200)

    async with refused(conn, "true"):
        await queue.work(DeliverChunk(batch_id=batch, position=position) for position in range(5))
        while due := await sweep():
            await queue.work(due)

    assert await counters(conn) == ("error", 0, 1000, 0)
    assert await conn.fetchval("SELECT count(*) FROM chunks") == 5 + 7 + 4
    assert len(queue.dead) == 5 + 7 + 4


async def test_what_was_given_up_together_is_cut_when_it_comes_back(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_parts, "FREE_SPLITS", 3)
    await batches.accept(range(10, 18), chunk_size=8)
    async with refused(conn, "true"):
        while due := await sweep():
            await queue.work(due)
    assert await conn.fetchval("SELECT array_agg(size) FROM chunks WHERE state = 'failed'") == [2, 2, 2, 2]

    bodies = [command.model_dump_json().encode() for command, _ in queue.dead]
    assert await revive(conn, bodies, due_after=timedelta()) == [None] * 4
    async with refused(conn, "NEW.user_id = 13"):
        while due := await sweep():
            await queue.work(due)

    assert await counters(conn) == ("error", 7, 1, 0)


async def test_many_recipients_may_be_refused(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As others of a batch are delivered, its chunks may be cut further."""
    monkeypatch.setattr(chunk_parts, "FREE_SPLITS", 7)
    batch = await batches.accept(range(10, 210), chunk_size=200)

    async with refused(conn, "NEW.user_id % 20 = 0"):
        await queue.work([DeliverChunk(batch_id=batch, position=0)])
        while due := await sweep():
            await queue.work(due)

    assert await counters(conn) == ("error", 190, 10, 0)
    assert {user for user, made in (await copies(conn, batch)).items() if not made} == set(range(20, 210, 20))


async def test_a_batch_is_cut_no_more_than_most(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_parts, "MOST_SPLITS", 3)
    batch = await batches.accept(range(10, 18), chunk_size=8)

    async with refused(conn, "NEW.user_id IN (12, 15)"):
        await queue.work([DeliverChunk(batch_id=batch, position=0)])
        while due := await sweep():
            await queue.work(due)

    assert await conn.fetchval("SELECT count(*) FROM chunks") == 1 + 3
    assert await counters(conn) == ("error", 4, 4, 0)


async def test_a_chunk_that_kills_its_workers_is_cut_until_the_culprit_stands_alone(
    conn: asyncpg.Connection, batches: Batches, queue: Queue
) -> None:
    """Its halves are given fewer redeliveries than the one recipient who is left, who may stand beside the culprit."""
    batch = await batches.accept(range(10, 18), chunk_size=8)
    deadly, killed = 15, 0
    queue.waiting.append(DeliverChunk(batch_id=batch, position=0))

    while queue.waiting:
        command = queue.waiting.popleft()
        row = await conn.fetchrow("SELECT recipients, redeliveries FROM chunks WHERE position = $1", command.position)
        assert row is not None
        if deadly not in row["recipients"]:
            await queue.deliverer.handle(command)
            continue
        killed += 1  # the first time is not noted
        while (outcome := await queue.deliverer.redelivered(command)) is None:
            killed += 1
        assert outcome == (DeadLetter(TOO_MANY_REDELIVERIES) if row["recipients"] == [deadly] else Done())

    assert await counters(conn) == ("error", 7, 1, 0)
    whole, half = MAX_REDELIVERIES + 1, MAX_REDELIVERIES - SUSPECT_REDELIVERIES + 1
    assert killed == whole + 2 * half + whole
    failed = await conn.fetchrow("SELECT recipients, error FROM chunks WHERE state = 'failed'")
    assert tuple(failed or ()) == ([deadly], TOO_MANY_REDELIVERIES)


async def test_what_other_sends_are_in_the_way_of_is_not_cut_at_once(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, sweep: Sweep
) -> None:
    """A conflict says nothing about a recipient; one that never ends does."""
    batch = await batches.accept([10, 11, 12, 13], chunk_size=4)
    taken = "INSERT INTO conversations SELECT first_id + 2, 1, 0, 0, false, false FROM chunks"
    await conn.execute(taken)

    await queue.work([DeliverChunk(batch_id=batch, position=0)])
    assert await conn.fetchval("SELECT count(*) FROM chunks") == 1
    while due := await sweep():
        await queue.work(due)

    assert await counters(conn) == ("error", 3, 1, 0)
    assert await conn.fetchval("SELECT recipients FROM chunks WHERE state = 'failed'") == [12]


async def test_a_delivery_that_read_its_chunk_before_the_cut_delivers_what_is_left_of_it(
    conn: asyncpg.Connection, pool: asyncpg.Pool, settings: Settings, batches: Batches
) -> None:
    batch = await batches.accept(range(10, 15), chunk_size=5)
    read = await read_chunk(conn, batch, 0)
    assert isinstance(read, PendingChunk)
    async with conn.transaction():
        assert await chunks.begin_split(conn, batch, 0, free=1, for_each=50, most=1)
        second = await chunks.split_chunk(conn, batch, 0, error="no", redeliveries=0, patience=timedelta())

    async with conn.transaction():
        outcome = await deliver_chunk(conn, TagSets(), read, cause=None)

    assert outcome == ChunkOutcome(2, 0)
    assert await copies(conn, batch) == {10: 1, 11: 1, 12: 0, 13: 0, 14: 0}
    assert await Deliverer(settings, pool).handle(DeliverChunk(batch_id=batch, position=second)) == Done()
    assert await copies(conn, batch) == dict.fromkeys(range(10, 15), 1)
    assert await counters(conn) == ("sent", 5, 0, 0)


async def test_without_a_broker_the_halves_are_left_to_the_sweeper(
    conn: asyncpg.Connection, pool: asyncpg.Pool, settings: Settings, batches: Batches, sweep: Sweep
) -> None:
    batch = await batches.accept(range(10, 14), chunk_size=4)
    deliverer = Deliverer(settings, pool)

    async with refused(conn, "NEW.user_id = 13"):
        assert await deliverer.handle(DeliverChunk(batch_id=batch, position=0)) == Done()
        for command in await sweep():
            assert await deliverer.handle(command) == Done()

    assert await counters(conn) == ("sending", 2, 0, 0)
