"""Directory events from the queue into the tables: in any order, with anything among them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from structlog.testing import capture_logs

from service.contracts.directory import MAX_EVENT_BYTES, DirectoryEvent, parse_event
from service.runtime import metrics
from service.runtime.postgres import create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient
from tests.support.directory_feed import Feed, directory_event
from tests.support.directory_histories import directory, directory_after, disordered, histories, on_wire
from tests.support.waiting import until
from workers.directory import DirectoryConsumer

USER, OTHER = (
    directory_event("user_created", user_id="10000000000001", name="Ana"),
    directory_event("user_created", user_id=2, name="Ben"),
)
LONG = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(8192))  # a name no index takes


class Following:
    """Consumers of one queue, and how many events they have committed."""

    def __init__(self, consumers: Sequence[DirectoryConsumer]) -> None:
        self.consumers = consumers
        self.done = 0

    async def committed(self, events: int) -> None:
        """Returns when so many have been, the refused and the ignored among them."""
        await until(lambda: self.done >= events)


Follow = Callable[..., AbstractAsyncContextManager[Following]]


@pytest.fixture
def following(settings: Settings, publisher: Publisher, pool: asyncpg.Pool) -> Follow:
    """Consumers of the queue while the block runs, as ``clarion worker --only directory`` runs them."""

    @asynccontextmanager
    async def follow(*, workers: int = 1, pool: asyncpg.Pool = pool, set_size: int = 50) -> AsyncIterator[Following]:
        made = Following([])

        class Counting(DirectoryConsumer):
            async def handle(self, bodies: Sequence[bytes]) -> dict[int, str]:
                reasons = await super().handle(bodies)
                made.done += len(bodies)
                return reasons

        made.consumers = [Counting(settings, pool, publisher, set_size=set_size) for _ in range(workers)]
        for consumer in made.consumers:
            await consumer.start()
        await until(lambda: all(consumer.broker.connected for consumer in made.consumers))
        try:
            yield made
        finally:
            for consumer in made.consumers:
                await consumer.drain()

    return follow


async def names(conn: asyncpg.Connection) -> dict[int, str]:
    return {row["id"]: row["name"] for row in await conn.fetch("SELECT id, name FROM users")}


async def nothing_left(outside: BrokerClient) -> None:
    """Every event is acknowledged: with no consumer there any more, none has come back."""
    await outside.waiting_in(outside.topology.directory, 0)


async def test_an_event_is_in_the_tables_and_gone_from_the_queue(
    following: Follow, source: Feed, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    async with following() as workers:
        await source.publish(USER)
        await workers.committed(1)
        assert await names(conn) == {1: "Ana"}

    await nothing_left(outside)


MALFORMED = {
    b"": "not JSON",
    b"\x00\xff garbage": "not JSON",
    b"[" * 100_000: "not JSON",
    USER.replace(b"Ana", b"\\ud800"): "not JSON",
    b"[" + USER + b"]": "not a JSON object",
    b'{"body": {"user_id": 1}}': "metadata: ",
    USER.replace(b'"metadata":{', b'"metadata":{"version":2,'): "metadata.version: ",
    directory_event("user_created", name="No id"): "body.user_id: is missing",
    directory_event("enrollment_created", enrollment_id=1, course_id=2, user_id=None): "body.user_id: ",
    directory_event("user_created", user_id=2**63): "body.user_id: ",
    directory_event("user_created", user_id=3, name="a\0b"): "body.name: ",
    directory_event("user_created", user_id=3, name={"first": "Ana"}): "body.name: ",
    directory_event("user_merged", user_id=1, merged_into_user_id=1): "a user is merged into another one",
    directory_event("attachment_created", attachment_id=1, size=2**63): "body.size: ",
    directory_event("user_created", user_id=1, updated_at="yesterday"): "body.updated_at: ",
    b" " * (MAX_EVENT_BYTES + 1): f"longer than {MAX_EVENT_BYTES} bytes",
}


async def test_what_is_no_event_goes_to_the_dead_letters_with_its_reason_and_stops_nothing(
    following: Follow, source: Feed, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    async with following():
        await source.publish(USER, *MALFORMED, OTHER)
        letters = await outside.dead_letters(len(MALFORMED))
        await until(lambda: _has(conn, 2))

    assert {letter.body for letter in letters} == MALFORMED.keys()
    for letter in letters:
        assert MALFORMED[letter.body] in letter.reason, letter
    assert await names(conn) == {1: "Ana", 2: "Ben"}
    await nothing_left(outside)


async def _has(conn: asyncpg.Connection, user_id: int) -> bool:
    return user_id in await names(conn)


async def test_events_about_something_else_are_passed_over(
    following: Follow, source: Feed, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    """As ``clarion directory load`` does."""
    async with following() as workers:
        await source.publish(
            directory_event("heartbeat"),
            directory_event("grade_change", grade="A"),
            directory_event("user_deleted", user_id=1),
            OTHER,
        )
        await workers.committed(4)

    assert await names(conn) == {2: "Ben"}
    await nothing_left(outside)
    await outside.waiting_in(outside.topology.dead, 0)


async def test_an_event_that_the_database_refuses_takes_no_other_with_it(
    following: Follow, source: Feed, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    poison = directory_event("user_created", user_id=40, name=LONG)
    others = [
        directory_event("user_created", user_id=number, name=f"No {number}") for number in range(1, 80) if number != 40
    ]
    await source.publish(*others[:39], poison, *others[39:])

    async with following():
        (letter,) = await outside.dead_letters(1)
        await until(lambda: _has(conn, 79))

    assert letter.body == poison
    assert letter.reason.startswith("ProgramLimitExceededError: index row ")
    assert await names(conn) == {number: f"No {number}" for number in range(1, 80) if number != 40}
    await nothing_left(outside)


async def test_of_a_set_with_everything_among_it_each_event_is_refused_for_its_own_reason_and_counted_once(
    settings: Settings, publisher: Publisher, pool: asyncpg.Pool, conn: asyncpg.Connection
) -> None:
    poison = directory_event("user_created", user_id=40, name=LONG)
    counters = {name: metrics.DIRECTORY_EVENTS.labels(name)._value for name in ("followed", "ignored", "refused")}
    before = {name: counter.get() for name, counter in counters.items()}
    consumer = DirectoryConsumer(settings, pool, publisher)

    reasons = await consumer.handle([b"{", directory_event("heartbeat"), USER, poison, OTHER])

    assert {place: reason.partition(":")[0] for place, reason in reasons.items()} == {
        0: "not JSON",
        3: "ProgramLimitExceededError",
    }
    assert await names(conn) == {1: "Ana", 2: "Ben"}
    counted = {name: counter.get() - before[name] for name, counter in counters.items()}
    assert counted == {"followed": 2, "ignored": 1, "refused": 2}


async def test_a_member_may_come_before_its_user_and_course(
    following: Follow, source: Feed, conn: asyncpg.Connection
) -> None:
    enrolment = {"enrollment_id": 1, "course_id": 5, "user_id": 1, "type": "StudentEnrollment"}

    async with following(set_size=1) as workers:
        await source.publish(directory_event("enrollment_state_created", enrollment_id=1, state="active"))
        await source.publish(directory_event("enrollment_created", **enrolment, workflow_state="active"))
        await source.publish(USER)
        await source.publish(directory_event("course_created", course_id=5, workflow_state="available"))
        await workers.committed(4)

    (found,) = await conn.fetch("SELECT user_id, course_id, standing FROM enrollment_standings")
    assert tuple(found) == (1, 5, "active")


@given(history=histories(), random=st.randoms(use_true_random=False))
@examples(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_the_order_and_however_often_the_directory_ends_the_same(
    following: Follow, source: Feed, conn: asyncpg.Connection, history: list[DirectoryEvent], random: Any
) -> None:
    """Two workers share the queue, so that even its order is none."""
    published = [on_wire(event) for event in history]
    events = [event for event in map(parse_event, published) if isinstance(event, DirectoryEvent)]
    in_order = await directory_after(conn, [[event] for event in events])
    arrivals = disordered(published, random)

    async with following(workers=2, set_size=random.randint(1, 8)) as workers:
        await source.publish(*arrivals)
        await workers.committed(len(arrivals))
        ended = await directory(conn)

    await conn.execute(f"TRUNCATE {', '.join(ended)}")
    assert ended == in_order


async def test_workers_with_events_of_the_same_people_wait_for_each_other(
    following: Follow, source: Feed, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    """No deadlock: the sets overlap, and each is written in the one order."""
    events = [
        directory_event("user_updated", second, user_id=1 + (second * 37) % 60, name=f"at {second:04}")
        for second in range(1200)
    ]

    with capture_logs() as logs:
        async with following(workers=4) as workers:
            await source.publish(*events)
            await workers.committed(len(events))

    assert not [line for line in logs if line["event"] == "set_held"]
    assert await names(conn) == {1 + (second * 37) % 60: f"at {second:04}" for second in range(1140, 1200)}
    await nothing_left(outside)


@pytest.fixture
async def writing_blocked(conn: asyncpg.Connection) -> Callable[[], Awaitable[int]]:
    """Users are locked until a rollback; returns the process that waits for them, once one does."""

    async def waiting() -> list[int]:
        found = await conn.fetch(
            "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return [row["pid"] for row in found]

    async def visible() -> int:
        async def waits() -> bool:
            return bool(await waiting())

        await until(waits)
        (pid,) = await waiting()
        return pid

    await conn.execute("BEGIN; LOCK TABLE users IN SHARE MODE")
    return visible


async def test_a_connection_lost_with_a_set_on_it_is_only_a_delay(
    following: Follow,
    source: Feed,
    conn: asyncpg.Connection,
    outside: BrokerClient,
    writing_blocked: Callable[[], Awaitable[int]],
) -> None:
    with capture_logs() as logs:
        async with following() as workers:
            await source.publish(USER, OTHER)
            await conn.execute("SELECT pg_terminate_backend($1)", await writing_blocked())
            await until(lambda: any(line["event"] == "set_held" for line in logs))
            await conn.execute("ROLLBACK")
            await workers.committed(2)

    assert await names(conn) == {1: "Ana", 2: "Ben"}
    await nothing_left(outside)
    await outside.waiting_in(outside.topology.dead, 0)


async def test_events_wait_for_a_database_that_is_away(
    following: Follow, source: Feed, settings: Settings, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    pool = await create_pool(nowhere)

    with capture_logs() as logs:
        async with following(pool=pool):
            await source.publish(USER, b"{", OTHER)
            await until(lambda: sum(line["event"] == "set_held" for line in logs) >= 2)
    await pool.close()

    await outside.waiting_in(outside.topology.directory, 3)
    async with following():
        await outside.dead_letters(1)
        await until(lambda: _has(conn, 2))
    assert await names(conn) == {1: "Ana", 2: "Ben"}


async def test_a_worker_that_stops_finishes_its_set_and_leaves_the_rest(
    following: Follow,
    source: Feed,
    conn: asyncpg.Connection,
    outside: BrokerClient,
    writing_blocked: Callable[[], Awaitable[int]],
) -> None:
    async with following(set_size=2) as workers:
        await source.publish(USER)
        await writing_blocked()
        await source.publish(OTHER, directory_event("user_created", user_id=3))
        await nothing_left(outside)  # all three are with the worker
        stopping = asyncio.create_task(workers.consumers[0].drain())
        await conn.execute("ROLLBACK")
        await stopping

    assert await names(conn) == {1: "Ana"}
    await outside.waiting_in(outside.topology.directory, 2)
