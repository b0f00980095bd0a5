"""Relays in this process, on the real servers, and a service that consumes events."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
import pytest

from service.application.messages import add_recipients
from service.application.messages import reply as replies
from service.application.messages.add_recipients import AddRecipients
from service.application.messages.reply_checks import AddMessage
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.domain.event_metadata import Cause
from service.runtime.broker import BrokerUnavailable
from service.runtime.event_publisher import Published
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from sql import outbox
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.broker import broker_client
from tests.support.conversations import Threads
from tests.support.event_consumer import EventConsumer, event_consumer
from tests.support.outbox import record_message
from tests.support.school import School
from tests.support.waiting import until
from workers.relay import COPIES, ROWS, Relay

CAUSE = Cause({"root_account_id": "10000000000001"}, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
BLOCK = 2000


async def record(conn: Connection, conversation_id: int, message_id: int) -> None:
    """The events of a message."""
    await record_message(conn, CAUSE, conversation_id, message_id)


async def record_chunks(conn: Connection, chunks: int) -> None:
    """As many conversations as there can be, in the blocks 1 to ``chunks``."""
    await conn.execute(
        "INSERT INTO outbox (lane, event, author_id, created_at, first_id, copies, cause)"
        " SELECT outbox_lane(n * $2), 'delivered', 42, now(), n * $2, $2, '{\"root_account_id\": \"1\"}'"
        " FROM generate_series(1, $1::bigint) n(n)",
        chunks,
        BLOCK,
    )


@asynccontextmanager
async def connected(settings: Settings, pool: asyncpg.Pool) -> AsyncIterator[Relay]:
    """A relay that could begin."""
    made = Relay(settings, pool)
    await made.start()
    await until(lambda: made.connected)
    try:
        yield made
    finally:
        await made.drain()


@asynccontextmanager
async def running(settings: Settings, pool: asyncpg.Pool) -> AsyncIterator[Relay]:
    """A relay at work."""
    async with connected(settings, pool) as made:
        work = asyncio.create_task(made.run())
        yield made
        made.stop()
        await work


@pytest.fixture
async def forgotten(settings: Settings) -> AsyncIterator[None]:
    """Removes the installation's queues in the end."""
    yield
    async with broker_client(settings) as made:
        await made.delete_topology()


@pytest.fixture
async def listening(
    request: pytest.FixtureRequest, settings: Settings, forgotten: None
) -> AsyncIterator[EventConsumer]:
    """Receives every event, one by one unless the test says otherwise."""
    async with event_consumer(settings, sets=getattr(request, "param", False)) as made:
        yield made


ONE_BY_ONE_AND_IN_SETS = pytest.mark.parametrize("listening", [False, True], ids=["single", "sets"], indirect=True)


async def relays(relay: Relay, events: int) -> bool:
    """Whether the relay now publishes so many events: once it is connected again and the lane has rested."""
    return relay.connected and await relay.relay() == events


async def left(conn: Connection) -> int:
    """Rows in the outbox."""
    found: int = await conn.fetchval("SELECT count(*) FROM outbox")
    return found


async def test_what_was_recorded_is_published_once_in_order_and_forgotten(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    await record(conn, 17, 17)
    await record(conn, 17, 18)
    async with connected(settings, pool) as relay:
        assert await relay.relay() == 3
        assert await relay.relay() == 0

    await listening.until(lambda so_far: len(so_far.received) == 3)
    assert [received.message_id for received in listening.received] == [
        "conversation_created.17",
        "conversation_message_created.17",
        "conversation_message_created.18",
    ]
    assert {received.traceparent for received in listening.received} == {CAUSE.traceparent}
    assert await left(conn) == 0


async def test_events_wait_for_a_bulk_send_unless_it_goes_at_a_pace(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    await Batches(conn).accept([10, 11], chunk_size=2)
    await record(conn, 17, 17)

    async with connected(settings, pool) as relay:
        assert await relay.relay() == 0
    paced = settings.model_copy(update={"account_recipients_per_minute": 60})
    async with connected(paced, pool) as relay:
        assert await relay.relay() == 2


async def test_a_chunk_of_2000_passes_whole_and_in_order(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    await record_chunks(conn, 1)
    async with connected(settings, pool) as relay:
        assert await relay.relay() == 2 * BLOCK

    await listening.until(lambda so_far: len(so_far.received) == 2 * BLOCK)
    assert [received.message_id for received in listening.received] == [
        f"{name}.{number}"
        for number in range(BLOCK, 2 * BLOCK)
        for name in ("conversation_created", "conversation_message_created")
    ]


async def test_one_attempt_takes_no_more_than_it_may(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    await record_chunks(conn, 1)
    await conn.execute("UPDATE outbox SET copies = $1", COPIES - 1)
    await record(conn, BLOCK, BLOCK + 1)
    await record(conn, BLOCK, BLOCK + 2)
    for message in range(BLOCK * 20, BLOCK * 20 + ROWS + 1):
        await record(conn, BLOCK * 20, message)

    async with connected(settings, pool) as relay:
        assert await relay.relay() == 2 * (COPIES - 1) + 1
        assert await relay.relay() == 1
        assert await relay.relay() == ROWS + 1  # the first of these opened its conversation
        assert await relay.relay() == 1


@ONE_BY_ONE_AND_IN_SETS
async def test_relays_at_once_publish_everything_once(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    await record_chunks(conn, 40)
    await conn.execute("UPDATE outbox SET copies = 5")
    async with running(settings, pool), running(settings, pool), running(settings, pool):
        for number in range(100):
            await record(conn, number % 10 * BLOCK, 10**6 + number)
        await until(lambda: _is_empty(conn))

    await listening.until(lambda so_far: len(so_far.received) >= 40 * 10 + 100)
    assert len(listening.times) == 40 * 10 + 100
    assert set(listening.times.values()) == {1}


async def _is_empty(conn: Connection) -> bool:
    return await left(conn) == 0


@dataclass(frozen=True)
class Groups:
    """Conversations of the first three of four people."""

    people: list[int]
    conversations: list[int]


@pytest.fixture
async def groups(school: School, threads: Threads) -> Groups:
    """Four of them."""
    people = school.students[:4]
    return Groups(people, [await threads.group(people[0], people[1:3], "Hello") for _ in range(4)])


@ONE_BY_ONE_AND_IN_SETS
async def test_concurrent_writers_and_relays_keep_each_conversation_in_order(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, groups: Groups, listening: EventConsumer
) -> None:
    """Replies and additions meet in a few conversations, while three relays are at it."""
    people = groups.people
    sending = Work(settings, IdBlocks(), TagSets(), CAUSE)

    async def reply(conversation: int, author: int) -> None:
        async with pool.acquire() as mine:
            request = AddMessage(author_id=author, conversation_id=conversation, body="Reply")
            plan = await replies.validate(sending, mine, request)
            async with mine.transaction():
                await replies.carry_out(sending, mine, request, plan)

    async def add(conversation: int, newcomer: int) -> None:
        async with pool.acquire() as mine:
            request = AddRecipients(people[0], conversation, [str(newcomer)])
            plan = await add_recipients.validate(sending, mine, request)
            async with mine.transaction():
                await add_recipients.carry_out(sending, mine, request, plan)

    async with running(settings, pool), running(settings, pool), running(settings, pool):
        work = [reply(conversation, people[n % 3]) for conversation in groups.conversations for n in range(12)]
        work += [add(conversation, people[3]) for conversation in groups.conversations]
        random.shuffle(work)
        await asyncio.gather(*work)
        await until(lambda: _is_empty(conn))

    await listening.until(lambda so_far: len(so_far.received) >= 4 * 14)
    written = await conn.fetch(
        "SELECT m.conversation_id, array_agg(m.id ORDER BY s.created_at) AS ids"
        " FROM messages m JOIN sends s ON s.id = m.send_id GROUP BY 1"
    )
    assert listening.messages == {row["conversation_id"]: row["ids"] for row in written}
    assert set(listening.times.values()) == {1}


async def test_events_without_a_consumer_are_counted_and_deleted(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, forgotten: None
) -> None:
    await record_chunks(conn, 2)
    await record(conn, 5, 17)
    async with event_consumer(settings, "conversation_created") as consumer, connected(settings, pool) as relay:
        while await relay.relay():
            pass
        await consumer.until(lambda so_far: len(so_far.received) == 2 * BLOCK)

    assert [(found.event, found.count) for found in await outbox.unroutable_events(conn)] == [
        ("conversation_message_created", 2 * BLOCK + 1)
    ]
    assert await left(conn) == 0


async def test_a_new_consumer_receives_all_that_is_relayed_once_its_queue_is_bound(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, forgotten: None
) -> None:
    """Events that no queue took are not published again and again; that one is bound by now is noticed all the same."""
    async with connected(settings, pool) as relay:
        await record_chunks(conn, 1)
        assert await relay.relay() == 2 * BLOCK
        async with event_consumer(settings) as late:
            await record(conn, 5, 17)
            await record(conn, 5, 18)
            assert await relay.relay() == 2
            await late.until(lambda so_far: len(so_far.received) == 2)

    assert late.messages == {5: [17, 18]}
    assert [(found.event, found.count) for found in await outbox.unroutable_events(conn)] == [
        ("conversation_created", BLOCK),
        ("conversation_message_created", BLOCK),
    ]


async def test_what_was_taken_and_not_confirmed_is_still_there(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    """The connection breaks in the middle of a chunk."""
    await record_chunks(conn, 1)
    async with connected(settings, pool) as relay:
        attempt = asyncio.create_task(relay.relay())
        await listening.until(lambda so_far: len(so_far.received) > 0)
        relay.publisher.broker.end_session("the test says so")
        with pytest.raises(BrokerUnavailable):
            await attempt

        assert await left(conn) == 1
        await until(partial(relays, relay, 2 * BLOCK))
    assert await left(conn) == 0


async def test_what_a_full_queue_refuses_comes_when_there_is_room(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    """One consumer's limit makes the others receive an event again; none of them misses one."""
    await record(conn, 5, 17)
    await record(conn, 5, 18)
    async with broker_client(settings) as outside, connected(settings, pool) as relay:
        queue = await outside.channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await queue.bind(outside.topology.events, "#")
        with pytest.raises(BrokerUnavailable):
            await relay.relay()
        assert await left(conn) == 2

        await queue.delete(if_empty=False)
        await until(partial(relays, relay, 2))
    await listening.until(lambda so_far: so_far.messages.get(5) == [17, 18])
    assert await left(conn) == 0


@ONE_BY_ONE_AND_IN_SETS
async def test_without_a_confirm_everything_stays_and_comes_again_under_the_same_ids(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    """The connection breaks in the middle of a chunk."""
    await record_chunks(conn, 30)
    await conn.execute("UPDATE outbox SET copies = 50")
    async with running(settings, pool) as relay:
        await listening.until(lambda so_far: len(so_far.received) > 0)
        relay.publisher.broker.end_session("the test says so")
        await until(lambda: _is_empty(conn))

    everything = {
        f"{name}.{number}"
        for block in range(BLOCK, 31 * BLOCK, BLOCK)
        for number in range(block, block + 50)
        for name in ("conversation_created", "conversation_message_created")
    }
    await listening.until(lambda so_far: so_far.times.keys() == everything)


async def test_a_relay_that_stops_finishes_what_it_has_begun(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    await record_chunks(conn, 20)
    await conn.execute("UPDATE outbox SET copies = $1", COPIES // 2)
    async with running(settings, pool):
        await listening.until(lambda so_far: len(so_far.received) > 0)

    rows = await left(conn)
    assert 0 < rows < 20
    await listening.until(lambda so_far: len(so_far.received) == (20 - rows) * COPIES)
    assert set(listening.times.values()) == {1}


async def test_a_relay_that_drains_stays_connected_until_its_transaction_is_done(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, listening: EventConsumer
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Relay):
        async def _publish(self, taken: outbox.Taken) -> Published:
            begun.set()
            await go_on.wait()
            return await super()._publish(taken)

    await record(conn, 5, 17)
    relay = Slow(settings, pool)
    await relay.start()
    await until(lambda: relay.connected)
    work = asyncio.create_task(relay.run())
    await begun.wait()

    draining = asyncio.create_task(relay.drain())
    await asyncio.wait({draining}, timeout=0)
    go_on.set()
    await asyncio.gather(work, draining)

    assert await left(conn) == 0
    await listening.until(lambda so_far: so_far.messages.get(5) == [17])
