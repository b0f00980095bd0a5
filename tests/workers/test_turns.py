"""Turns: of each batch a few chunks are in flight, whatever becomes of them, and no faster than the pace."""

import asyncio
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta

import asyncpg
import pytest
import structlog

from service.application.messages.early_delivery import deliver_early
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import AnyCommand, DeliverChunk
from service.domain.batch import BatchState
from service.runtime.broker import BrokerUnavailable
from service.runtime.settings import Settings
from sql import batch_moves, chunks
from sql.connection import Connection
from sql.turns import Limits, Turn, next_turn, take_turns
from tests.support.batches import Batches, refused
from tests.support.bulk_send_invariants import copies
from workers.deliver import Deliverer
from workers.outcome import DeadLetter, Done
from workers.turns import AHEAD, Turns

IN_FLIGHT = 3
LATER = timedelta(hours=1)


class Queue:
    """The queue of DeliverChunk, and a worker that takes what is in it, first in first out."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool) -> None:
        self.waiting: deque[tuple[int, int]] = deque()
        self.handled: list[tuple[int, int]] = []
        self.away = False
        self.turns = Turns(settings, pool, self.command)
        self._deliverer = Deliverer(settings, pool, self.command)

    async def command(self, command: AnyCommand) -> None:
        assert isinstance(command, DeliverChunk)
        if self.away:
            raise BrokerUnavailable("away")
        self.waiting.append((command.batch_id, command.position))

    async def step(self) -> None:
        """The first of what waits."""
        batch_id, position = self.waiting.popleft()
        self.handled.append((batch_id, position))
        outcome = await self._deliverer.handle(DeliverChunk(batch_id=batch_id, position=position))
        assert isinstance(outcome, Done | DeadLetter)

    async def work(self) -> None:
        """Until nothing waits."""
        while self.waiting:
            await self.step()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As many chunks in flight as the tests speak of."""
    return settings.model_copy(update={"batch_chunks_in_flight": IN_FLIGHT})


@pytest.fixture
def queue(settings: Settings, pool: asyncpg.Pool) -> Queue:
    """Empty."""
    return Queue(settings, pool)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


async def in_flight(conn: Connection, batch_id: int) -> list[int]:
    """Positions of the chunks that are commanded and not done."""
    rows = await conn.fetch(
        "SELECT position FROM chunks"
        " WHERE batch_id = $1 AND state = 'pending' AND due_at < 'infinity' ORDER BY position",
        batch_id,
    )
    return [row["position"] for row in rows]


async def state(conn: Connection, batch_id: int) -> tuple[object, ...]:
    """State and counters."""
    row = await conn.fetchrow("SELECT state, delivered, failed, skipped FROM batches WHERE id = $1", batch_id)
    return tuple(row or ())


async def test_a_delivery_commands_the_next_chunk_and_never_more_are_in_flight(
    conn: asyncpg.Connection, batches: Batches, queue: Queue
) -> None:
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)

    assert await queue.turns.top_up(batch) == IN_FLIGHT
    while queue.waiting:
        assert sorted(position for _, position in queue.waiting) == await in_flight(conn, batch)
        assert len(queue.waiting) == min(IN_FLIGHT, 10 - len(queue.handled))
        await queue.step()

    assert queue.handled == [(batch, position) for position in range(10)]
    assert await state(conn, batch) == ("sent", 20, 0, 0)


async def test_where_more_are_in_flight_than_may_be_none_follows(
    conn: asyncpg.Connection, batches: Batches, queue: Queue
) -> None:
    """The setting was lowered, or dead letters were brought back."""
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)
    await take_turns(conn, batch, paced(in_flight=IN_FLIGHT + 2), patience=LATER)

    for left in (4, 3, 3):
        queue.waiting.appendleft((batch, (await in_flight(conn, batch))[0]))
        await queue.step()
        assert len(await in_flight(conn, batch)) == left


async def test_a_command_of_a_chunk_that_waits_again_makes_no_place(
    conn: asyncpg.Connection, batches: Batches, queue: Queue
) -> None:
    """It comes from before a pause."""
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)
    await take_turns(conn, batch, paced(in_flight=1), patience=LATER)

    queue.waiting.append((batch, 7))
    await queue.step()

    assert await in_flight(conn, batch) == [0]


async def test_batches_take_turns(conn: asyncpg.Connection, batches: Batches, queue: Queue) -> None:
    first, second = [await batches.accept(range(10, 30), chunk_size=2, patience=None) for _ in range(2)]

    for batch in (first, second):
        await queue.turns.top_up(batch)
    await queue.work()

    assert [batch for batch, _ in queue.handled] == ([first] * IN_FLIGHT + [second] * IN_FLIGHT) * 3 + [first, second]
    assert {await state(conn, batch) for batch in (first, second)} == {("sent", 20, 0, 0)}


async def test_deliveries_side_by_side_command_no_more_together(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, settings: Settings, pool: asyncpg.Pool
) -> None:
    """Many at once, some commands twice, and topping up besides."""
    batch = await batches.accept(range(1000, 1200), chunk_size=2, patience=None)
    deliverer = Deliverer(settings, pool, queue.command)
    await queue.turns.top_up(batch)

    while queue.waiting:
        round_ = [DeliverChunk(batch_id=id_, position=position) for id_, position in queue.waiting]
        queue.waiting.clear()
        await asyncio.gather(*(deliverer.handle(each) for each in (*round_, *round_)), queue.turns.top_up(batch))
        assert len(await in_flight(conn, batch)) <= IN_FLIGHT

    assert await state(conn, batch) == ("sent", 200, 0, 0)
    assert set((await copies(conn, batch)).values()) == {1}


@pytest.mark.parametrize("commanded", [True, False])
async def test_a_reader_who_is_faster_takes_no_place_and_holds_none(
    *, conn: asyncpg.Connection, batches: Batches, queue: Queue, settings: Settings, commanded: bool
) -> None:
    """The command of a chunk that a reader has had delivered makes place for the next one."""
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)
    await queue.turns.top_up(batch)
    early = range(IN_FLIGHT) if commanded else range(IN_FLIGHT, 2 * IN_FLIGHT)

    for position in early:
        await deliver_early(conn, settings, TagSets(), batch, position)
    assert await in_flight(conn, batch) == ([] if commanded else [0, 1, 2])
    await queue.step()
    assert len(await in_flight(conn, batch)) == IN_FLIGHT
    await queue.work()

    assert await state(conn, batch) == ("sent", 20, 0, 0)


async def test_a_chunk_that_is_cut_and_given_up_holds_no_place(
    conn: asyncpg.Connection, batches: Batches, queue: Queue
) -> None:
    batch = await batches.accept(range(10, 50), chunk_size=4, patience=None)
    await queue.turns.top_up(batch)

    async with refused(conn, "NEW.user_id IN (11, 12, 21, 30, 31, 32, 33)"):
        while queue.waiting:
            await queue.step()
            trying = "SELECT count(*) FROM chunks WHERE state = 'pending' AND due_at < 'infinity' AND attempts = 0"
            assert await conn.fetchval(trying) <= IN_FLIGHT

    assert await state(conn, batch) == ("sending", 33, 0, 0)
    assert await conn.fetchval("SELECT count(*) FROM chunks WHERE state = 'pending' AND attempts = 1") == 7
    waits = await conn.fetchval("SELECT count(*) FROM chunks WHERE state = 'pending' AND due_at = 'infinity'")
    assert waits == 0


async def test_what_was_not_published_falls_due_at_once_and_the_rest_follows_it(
    conn: asyncpg.Connection, batches: Batches, queue: Queue
) -> None:
    """A broker that is away for a moment: no batch stands still until its commands would be taken for lost."""
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)
    await queue.turns.top_up(batch)
    queue.away = True
    await queue.work()
    assert await state(conn, batch) == ("sending", 2 * IN_FLIGHT, 0, 0)
    assert await in_flight(conn, batch) == [3, 4, 5]
    queue.away = False

    for due in await chunks.take_due_chunks(conn, patience=LATER, limit=100):
        queue.waiting.append((due.batch_id, due.position))
    await queue.work()

    assert await state(conn, batch) == ("sent", 20, 0, 0)


async def test_only_what_is_taken_for_commanded_is_made_due(
    conn: asyncpg.Connection, pool: asyncpg.Pool, batches: Batches, queue: Queue
) -> None:
    """Not what waits for its turn, nor what is done, nor what another worker holds, for which nobody waits."""
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)
    await queue.turns.top_up(batch)
    await queue.step()
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM chunks WHERE batch_id = $1 AND position = 2 FOR UPDATE", batch)
        await chunks.make_chunks_due(conn, batch, range(10))

    due = await chunks.take_due_chunks(conn, patience=LATER, limit=100)

    assert sorted(chunk.position for chunk in due) == [1, 3]


@pytest.mark.parametrize("move", ["pause", "cancel"])
async def test_a_batch_that_is_stopped_is_not_gone_on_with(
    conn: asyncpg.Connection, batches: Batches, queue: Queue, move: str
) -> None:
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)
    await queue.turns.top_up(batch)
    await queue.step()
    stop = batch_moves.pause_batch if move == "pause" else batch_moves.cancel_batch
    assert await stop(conn, batch, [BatchState.SENDING], None)

    await queue.work()

    assert len(queue.handled) == 1 + IN_FLIGHT
    assert await queue.turns.top_up(batch) == await queue.turns.sweep() == 0
    if move == "cancel":
        assert await state(conn, batch) == ("cancelled", 2, 0, 18)
        return
    assert await state(conn, batch) == ("paused", 2, 0, 0)
    assert await batch_moves.resume_batch(conn, batch, [BatchState.PAUSED], None)
    assert await in_flight(conn, batch) == []
    assert await queue.turns.sweep() == IN_FLIGHT
    await conn.execute("UPDATE batches SET recheck = false")  # the sender of these tests reaches no recipient
    await queue.work()
    assert await state(conn, batch) == ("sent", 20, 0, 0)


async def test_a_retry_waits_for_its_turn_too(conn: asyncpg.Connection, batches: Batches, queue: Queue) -> None:
    batch = await batches.accept(range(10, 30), chunk_size=2, patience=None)
    for position in range(10):
        await chunks.fail_chunk(conn, batch, position, error="no", cause=None)
    assert await batch_moves.retry_batch(conn, batch, [BatchState.ERROR], None) is not None
    await conn.execute("UPDATE batches SET recheck = false")

    assert await queue.turns.top_up(batch) == IN_FLIGHT
    await queue.work()

    assert await state(conn, batch) == ("sent", 20, 0, 0)


def paced(*, sender: int = 0, account: int = 0, in_flight: int = 1000) -> Limits:
    return Limits(in_flight=in_flight, sender_pace=sender, account_pace=account, root_account_id=1, ahead=AHEAD)


async def turns_of(conn: Connection, batch_id: int, limits: Limits) -> list[Turn]:
    """What is given now, in its order."""
    return sorted(await take_turns(conn, batch_id, limits, patience=LATER))


async def a_moment_ago(conn: Connection) -> datetime:
    """By the clock that turns go by."""
    moment: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return moment


async def begins(conn: Connection, kind: str) -> datetime:
    """When the next recipient of a sender or account may have a message."""
    moment: datetime = await conn.fetchval("SELECT max(next_at) FROM paces WHERE kind = $1", kind)
    return moment


async def test_a_pace_gives_each_chunk_its_turn(conn: asyncpg.Connection, batches: Batches) -> None:
    """Two recipients a second: the first chunk at once, each other one when those before it have had their time."""
    batch = await batches.accept(range(10, 30), chunk_size=1, patience=None)

    taken = await turns_of(conn, batch, paced(sender=120))

    assert [turn.position for turn in taken] == list(range(5))  # as far as turns are given ahead
    assert taken[0].wait <= 0
    assert [turn.wait for turn in taken] == pytest.approx([0, 0.5, 1.0, 1.5, 2.0], abs=0.001)
    assert await turns_of(conn, batch, paced(sender=120)) == []
    due = await conn.fetchval("SELECT due_at - now() FROM chunks WHERE position = 4")
    assert timedelta(seconds=1) < due <= AHEAD
    assert 0 < (await next_turn(conn) or 0) <= 0.5


async def test_a_sender_has_one_pace_for_all_batches_and_others_have_theirs(
    conn: asyncpg.Connection, batches: Batches
) -> None:
    limits = paced(sender=60, in_flight=1)
    mine = [await batches.accept(range(10, 30), chunk_size=1, patience=None, sender=1) for _ in range(3)]
    other = await batches.accept(range(10, 30), chunk_size=1, patience=None, sender=2)

    waits = [turn.wait for batch in mine for turn in await turns_of(conn, batch, limits)]

    assert waits == pytest.approx([0, 1, 2], abs=0.5)
    assert [turn.wait for turn in await turns_of(conn, other, limits)] == [0]


async def test_an_account_has_one_pace_for_all_senders_and_a_slow_one_holds_up_nobody(
    conn: asyncpg.Connection, batches: Batches
) -> None:
    """The account's time runs on while one sender's next turn is a minute away."""
    slow, quick = [await batches.accept(range(10, 30), chunk_size=1, patience=None, sender=sender) for sender in (1, 2)]
    before = await a_moment_ago(conn)
    for _ in range(2):
        await turns_of(conn, slow, paced(sender=1, account=600, in_flight=1))
        await conn.execute("UPDATE chunks SET state = 'delivered' WHERE due_at < 'infinity'")
    assert await begins(conn, "sender") - before > timedelta(minutes=1)
    assert await begins(conn, "account") - before < timedelta(seconds=1)

    taken = await turns_of(conn, quick, paced(account=600, in_flight=3))

    assert len(taken) == 3
    assert taken[-1].wait - taken[0].wait == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize(
    ("context", "account"),
    [
        (None, 1),
        (("Course", 7), 3),
        (("Section", 71), 3),
        (("Group", 5), 3),
        (("Group", 6), 4),
        (("Account", 9), 9),
        (("Course", 4711), 1),
    ],
    ids=str,
)
async def test_the_account_is_that_of_the_context(
    conn: asyncpg.Connection, batches: Batches, context: tuple[str, int] | None, account: int
) -> None:
    """Of a section and of a course's group the course's; the root account where there is none, or it is not known."""
    await conn.execute("""
        INSERT INTO courses (id, account_id, name, workflow_state, as_of) VALUES (7, 3, 'Biology', 'available', now());
        INSERT INTO sections (id, course_id, name, as_of) VALUES (71, 7, 'One', now());
        INSERT INTO groups (id, context_type, context_id, account_id, as_of)
        VALUES (5, 'Course', 7, 8, now()), (6, 'Account', 4, NULL, now());
    """)
    batch = await batches.accept([10], chunk_size=1, patience=None)
    if context is not None:
        await conn.execute("UPDATE sends SET context_type = $1, context_id = $2", *context)

    await turns_of(conn, batch, paced(account=60))

    assert await conn.fetchval("SELECT id FROM paces WHERE kind = 'account'") == account


async def test_with_a_pace_turns_are_taken_when_a_chunk_is_done(
    conn: asyncpg.Connection, batches: Batches, settings: Settings, pool: asyncpg.Pool
) -> None:
    """No delivery chooses its successor by itself."""
    queue = Queue(settings.model_copy(update={"sender_recipients_per_minute": 600}), pool)
    batch = await batches.accept(range(10, 30), chunk_size=1, patience=None)
    assert await queue.turns.top_up(batch) == IN_FLIGHT
    assert queue.waiting.pop() == (batch, 0)
    before = await begins(conn, "sender")
    queue.waiting.append((batch, 0))

    await queue.step()

    assert await in_flight(conn, batch) == [1, 2, 3]
    assert await begins(conn, "sender") - before == timedelta(seconds=0.1)
