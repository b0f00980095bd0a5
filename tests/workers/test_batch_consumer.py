"""The life of messages that are handled in sets, on a real queue."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aio_pika import Message
from aio_pika.abc import AbstractMessage
from structlog.testing import capture_logs

from service.contracts.topology import Topology
from service.runtime.broker import BrokerUnavailable
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient, DeadLetter
from tests.support.directory_feed import Feed
from tests.support.waiting import until
from workers.batch_consumer import BatchConsumer

SET_SIZE = 10


class Handler:
    """Notes the sets it is given and refuses some; raises its errors first; waits while it is shut."""

    def __init__(self, *errors: Exception, refusing: Sequence[bytes] = ()) -> None:
        self.given: list[list[bytes]] = []
        self.errors = list(errors)
        self.refusing = refusing
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, bodies: Sequence[bytes]) -> dict[int, str]:
        self.given.append(list(bodies))
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        refused = [(place, f"no {body.decode()}") for place, body in enumerate(bodies) if body in self.refusing]
        return dict(reversed(refused))  # in whatever order

    def has(self, how_many: int) -> bool:
        return sum(map(len, self.given)) >= how_many


Consuming = Callable[..., AbstractAsyncContextManager[BatchConsumer]]


def numbered(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last + 1)]


@pytest.fixture
def consuming(settings: Settings, publisher: Publisher) -> Consuming:
    """A consumer of the directory's queue while the block runs; drained at its end."""

    @asynccontextmanager
    async def consume(handler: Handler, *, dead_letters: Publisher = publisher) -> AsyncIterator[BatchConsumer]:
        queue = Topology(settings.amqp_prefix).directory
        consumer = BatchConsumer(settings, "directory", queue, handler, dead_letters, set_size=SET_SIZE)
        await consumer.start()
        await until(lambda: consumer.broker.connected)
        yield consumer
        await consumer.drain()

    return consume


async def left(outside: BrokerClient, how_many: int) -> None:
    """Returns when so many are in the queue and no consumer has them."""
    await outside.waiting_in(outside.topology.directory, how_many)


async def test_a_lone_message_does_not_wait_for_others(
    consuming: Consuming, source: Feed, outside: BrokerClient
) -> None:
    handler = Handler()

    async with consuming(handler):
        await source.publish(b"1")
        await until(lambda: handler.has(1))

    assert handler.given == [[b"1"]]
    await left(outside, 0)


async def test_what_comes_while_a_set_is_in_work_is_the_next_set(
    consuming: Consuming, source: Feed, outside: BrokerClient
) -> None:
    handler = Handler()
    handler.open.clear()

    async with consuming(handler):
        await source.publish(b"1")
        await until(lambda: handler.has(1))
        for body in numbered(2, 2 * SET_SIZE):  # as many as are handed out before one is acknowledged
            await source.publish(body)
        await left(outside, 0)
        assert handler.given == [[b"1"]]
        handler.open.set()
        await until(lambda: handler.has(2 * SET_SIZE))

    assert [body for taken in handler.given for body in taken] == numbered(1, 2 * SET_SIZE)
    assert len(handler.given[1]) == SET_SIZE
    await left(outside, 0)


async def test_nothing_is_acknowledged_before_it_is_handled(
    consuming: Consuming, source: Feed, outside: BrokerClient
) -> None:
    handler = Handler()
    handler.open.clear()

    async with consuming(handler) as consumer:
        for body in numbered(1, 5):
            await source.publish(body)
        await until(lambda: handler.has(1))
        consumer.broker.end_session("test")
        await until(lambda: handler.has(2))
        handler.open.set()
        await left(outside, 0)
        await until(lambda: handler.has(6))

    again = [body for taken in handler.given[1:] for body in taken]
    assert again[:5] == numbered(1, 5)
    await left(outside, 0)


async def test_what_is_refused_goes_to_the_dead_letters_and_stops_nothing(
    consuming: Consuming, source: Feed, outside: BrokerClient
) -> None:
    poison = [b"1", b"7", b"30"]

    async with consuming(Handler(refusing=poison)):
        for body in numbered(1, 30):
            await source.publish(body)
        letters = await outside.dead_letters(3)

    assert {letter.body: letter.reason for letter in letters} == {body: f"no {body.decode()}" for body in poison}
    await left(outside, 0)


async def test_a_set_is_held_while_something_is_away(consuming: Consuming, source: Feed, outside: BrokerClient) -> None:
    errors = [asyncpg.CannotConnectNowError("starting up"), asyncpg.UndefinedTableError("users"), LookupError("ours")]
    handler = Handler(*errors)

    async with consuming(handler):
        await source.publish(b"1")
        await until(lambda: handler.has(4))

    assert handler.given == [[b"1"]] * 4
    await left(outside, 0)


async def test_a_held_set_goes_back_when_the_worker_stops(
    consuming: Consuming, source: Feed, outside: BrokerClient
) -> None:
    handler = Handler(*[ConnectionRefusedError()] * 1000)

    async with consuming(handler):
        await source.publish(*numbered(1, 5))
        await until(lambda: handler.has(2))

    await left(outside, 5)


async def test_without_its_own_publisher_the_broker_puts_a_message_away_and_no_other(
    consuming: Consuming, source: Feed, outside: BrokerClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 0.001)
    away = Publisher(settings.model_copy(update={"amqp_url": "amqp://127.0.0.1:1/"}), "away")
    handler = Handler(refusing=[b"1", b"5"])
    handler.open.clear()

    async with consuming(handler, dead_letters=away):
        await source.publish(b"1")
        await until(lambda: handler.has(1))
        for body in numbered(2, 5):
            await source.publish(body)
        await left(outside, 0)
        handler.open.set()
        letters = await outside.dead_letters(2)

    assert {letter.body for letter in letters} == {b"1", b"5"}
    await left(outside, 0)
    assert handler.given == [[b"1"], numbered(2, 5)]  # the others of a set are settled with it, and do not come again


async def test_a_message_not_yet_put_away_goes_back_when_the_worker_stops(
    consuming: Consuming, source: Feed, outside: BrokerClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 60)
    away = Publisher(settings.model_copy(update={"amqp_url": "amqp://127.0.0.1:1/"}), "away")

    with capture_logs() as logs:
        async with consuming(Handler(refusing=[b"1"]), dead_letters=away):
            await source.publish(b"1")
            await until(lambda: any(line["event"] == "dead_letter_failed" for line in logs))

    await left(outside, 1)
    await outside.waiting_in(outside.topology.dead, 0)


@pytest.mark.parametrize("message_id", [None, "same"])
async def test_what_no_queue_takes_as_a_dead_letter_is_published_until_one_does(
    consuming: Consuming, outside: BrokerClient, message_id: str | None
) -> None:
    """Nothing is bound when the set is published; the next session of the publisher binds the queue again."""
    poison = numbered(2, SET_SIZE)
    dead = await outside.channel.get_queue(outside.topology.dead, ensure=False)
    await dead.unbind(outside.topology.dead, "")
    entry = await outside.channel.get_exchange(outside.topology.directory, ensure=False)
    handler = Handler(refusing=poison)
    handler.open.clear()

    with capture_logs() as logs:
        async with consuming(handler):
            for body in [b"1", *poison]:
                await entry.publish(Message(body, message_id=message_id), "any", mandatory=True)
            await left(outside, 0)
            handler.open.set()
            letters = await outside.dead_letters(len(poison))
            await left(outside, 0)

    assert {letter.body for letter in letters} == {*poison}
    assert any(line["event"] == "dead_letter_failed" and "NO_ROUTE" in line["error"] for line in logs)


async def test_what_a_full_queue_refuses_as_a_dead_letter_comes_there_once_it_has_room(
    consuming: Consuming, source: Feed, outside: BrokerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.dead_letter.PUBLISH_ATTEMPTS", 1000)
    poison = numbered(1, SET_SIZE)
    await outside.channel.queue_delete(outside.topology.dead)
    full = await outside.channel.declare_queue(
        outside.topology.dead, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await full.bind(outside.topology.dead, outside.topology.dead)

    with capture_logs() as logs:
        async with consuming(Handler(refusing=poison)):
            await source.publish(*poison)
            await until(lambda: any(line["event"] == "dead_letter_failed" for line in logs))
            letters = await outside.dead_letters(len(poison))
            await left(outside, 0)

    assert {letter.body for letter in letters} == {*poison}
    refusals = [line["error"] for line in logs if line["event"] == "dead_letter_failed"]
    assert all("it is full" in refusal for refusal in refusals)


class Choosy(Publisher):
    """Cannot publish what has one of these bodies; no broker refuses by the message."""

    refusing: Sequence[bytes] = ()

    async def dead_letter(self, original: AbstractMessage, **where: Any) -> None:
        if original.body in self.refusing:
            raise BrokerUnavailable("not this one")
        await super().dead_letter(original, **where)


@pytest.fixture
async def choosy(settings: Settings) -> AsyncIterator[Choosy]:
    """Connected."""
    made = Choosy(settings, "choosy")
    await made.broker.start()
    await until(lambda: made.connected)
    yield made
    await made.broker.stop()


async def test_when_the_worker_stops_what_is_a_dead_letter_is_settled_and_the_others_go_back(
    consuming: Consuming, source: Feed, outside: BrokerClient, choosy: Choosy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 60)
    choosy.refusing = [b"2", b"5"]
    handler = Handler(refusing=numbered(2, 9))
    handler.open.clear()

    with capture_logs() as logs:
        async with consuming(handler, dead_letters=choosy):
            await source.publish(*numbered(1, 9))
            await left(outside, 0)
            handler.open.set()
            await until(lambda: handler.has(9) and any(line["event"] == "dead_letter_failed" for line in logs))

    letters = await outside.dead_letters(6)
    assert {letter.body for letter in letters} == {b"3", b"4", b"6", b"7", b"8", b"9"}
    await left(outside, 2)
    await outside.waiting_in(outside.topology.dead, 0)


async def test_what_cannot_be_published_is_left_to_the_broker_and_takes_no_other_with_it(
    consuming: Consuming, source: Feed, outside: BrokerClient, choosy: Choosy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 0.001)
    choosy.refusing = [b"2", b"5"]

    async with consuming(Handler(refusing=numbered(1, 30)), dead_letters=choosy):
        await source.publish(*numbered(1, 30))
        letters = await outside.dead_letters(30)

    assert sorted(letters, key=lambda letter: int(letter.body)) == [
        DeadLetter(body, "None" if body in choosy.refusing else f"no {body.decode()}") for body in numbered(1, 30)
    ]
    await left(outside, 0)


async def test_good_messages_do_not_wait_for_dead_letters_nor_take_those_with_them(
    consuming: Consuming, source: Feed, outside: BrokerClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledged are the good ones alone: what is not among the dead letters yet comes back after a crash."""
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 60)
    away = Publisher(settings.model_copy(update={"amqp_url": "amqp://127.0.0.1:1/"}), "away")
    handler = Handler(refusing=[b"2", b"7"])

    async with consuming(handler, dead_letters=away):
        handler.open.clear()
        await source.publish(b"1")
        await until(lambda: handler.has(1))
        for body in numbered(2, 14):
            await source.publish(body)
        await left(outside, 0)
        handler.open.set()
        await until(lambda: handler.has(14))
        for body in numbered(15, 30):
            await source.publish(body)
        await until(lambda: handler.has(30))

    await left(outside, 2)


async def test_what_an_interrupted_set_has_left_is_not_acknowledged_with_the_next(
    consuming: Consuming, source: Feed, outside: BrokerClient, choosy: Choosy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set that is in work when the worker stops is still settled, behind one whose dead letter has to wait."""
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 3600)
    choosy.refusing = [b"1"]
    handler = Handler(refusing=[b"1", b"2"])

    with capture_logs() as logs:
        async with consuming(handler, dead_letters=choosy) as consumer:
            await source.publish(b"1")
            await until(lambda: any(line["event"] == "dead_letter_failed" for line in logs))
            handler.open.clear()
            await source.publish(b"2")
            await until(lambda: handler.has(2))
            drained = asyncio.create_task(consumer.drain())
            for _ in range(20):
                await asyncio.sleep(0)  # the waiting of the first set is over
            choosy.refusing = []
            handler.open.set()
            await drained

    async def waiting(queue: str) -> int:
        declared = await outside.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def both_are_somewhere() -> bool:
        return await waiting(outside.topology.directory) + await waiting(outside.topology.dead) == 2

    await until(both_are_somewhere)


@pytest.mark.parametrize("sets", [1, 2])
async def test_a_dead_letter_that_is_published_takes_none_with_it_that_is_not(
    consuming: Consuming,
    source: Feed,
    outside: BrokerClient,
    choosy: Choosy,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sets: int,
) -> None:
    """Whether they were refused together or one after the other; what is not published comes again."""
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 3600)
    choosy.refusing = [b"1"]
    handler = Handler(refusing=[b"1", b"2"])

    with capture_logs() as logs:
        async with consuming(handler, dead_letters=choosy):
            handler.open.clear()
            await source.publish(b"0" if sets == 1 else b"1")
            await until(lambda: handler.has(1))
            await source.publish(*([b"1", b"2"] if sets == 1 else [b"2"]))
            await left(outside, 0)
            handler.open.set()
            await outside.waiting_in(outside.topology.dead, 1)
            await until(lambda: any(line["event"] == "dead_letter_failed" for line in logs))
            if sets == 2:
                await source.publish(b"3")  # handled once what came before is settled
                await until(lambda: handler.has(3))

    assert [line["reasons"] for line in logs if line["event"] == "dead_lettered"] == [{"no 2": 1}]
    await left(outside, 1)


async def test_a_queue_that_does_not_answer_is_logged_and_never_deleted(
    consuming: Consuming, source: Feed, outside: BrokerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it is nowhere else."""
    handler = Handler()
    async with consuming(handler) as consumer:
        monkeypatch.setattr("workers.subscription.CONSUME_TIMEOUT", 0)
        with capture_logs() as logs:
            consumer.broker.end_session("test")
            await until(lambda: not consumer.broker.connected)
            await source.publish(b"1")
            await until(lambda: any(line["event"] == "queue_unusable" for line in logs))
        assert not handler.given
        monkeypatch.undo()
        await until(lambda: handler.has(1))

    (unusable,) = (line for line in logs if line["event"] == "queue_unusable")
    assert unusable["queue"] == outside.topology.directory
    await left(outside, 0)
