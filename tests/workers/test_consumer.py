"""The life of a command, on a real queue."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
import pytest
from aio_pika.abc import AbstractIncomingMessage
from structlog.testing import capture_logs

from service.contracts.commands import AnyCommand, DeliverChunk
from service.contracts.topology import Topology
from service.runtime.broker import BrokerUnavailable, Session
from service.runtime.metrics import exposition
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient
from tests.support.figures import growth, value
from tests.support.waiting import until
from workers.consumer import Consumer, MessageConsumer
from workers.outcome import DeadLetter, Done, Outcome

COMMAND = DeliverChunk(batch_id=1, position=2)

Handle = Callable[[AnyCommand], Awaitable[Outcome]]
Consuming = Callable[..., AbstractAsyncContextManager[Consumer[DeliverChunk]]]


class Handler:
    """Notes what it is given and gives its answers in turn, the last one for ever."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.given: list[AnyCommand] = []
        self.answers = list(answers)

    async def __call__(self, command: AnyCommand) -> Outcome:
        self.given.append(command)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def consuming(settings: Settings, publisher: Publisher) -> Consuming:
    """A consumer of the deliver queue while the block runs; drained at its end."""

    @asynccontextmanager
    async def consume(handler: Handle, *, lanes: int = 1) -> AsyncIterator[Consumer[DeliverChunk]]:
        consumer = Consumer(settings, DeliverChunk, handler, publisher, lanes=lanes)
        await consumer.start()
        await until(lambda: consumer.broker.connected)
        yield consumer
        await consumer.drain()

    return consume


async def test_a_handled_command_is_gone(consuming: Consuming, publisher: Publisher, outside: BrokerClient) -> None:
    handler = Handler(Done())

    async with consuming(handler):
        await publisher.command(COMMAND)
        await until(lambda: len(handler.given) == 1)

    assert handler.given == [COMMAND]
    await outside.waiting("deliver", 0)


async def test_a_command_is_held_while_something_is_away(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    away = asyncpg.CannotConnectNowError("the database system is starting up")
    handler = Handler(away, away, Done())
    held = growth("worker", "clarion_consumer_errors_total", consumer="deliver", outcome="held")

    async with consuming(handler):
        await publisher.command(COMMAND)
        await until(lambda: len(handler.given) == 3)

    await outside.waiting("deliver", 0)
    assert held() == 2


@pytest.mark.usefixtures("outside")  # removes the queues
async def test_a_command_waits_for_the_connection_by_which_its_consequences_are_published(
    settings: Settings, publisher: Publisher
) -> None:
    """A worker that begins has the command sooner, and so has one that comes back to its broker."""
    late, handler = Publisher(settings, "late"), Handler(Done())
    held = growth("worker", "clarion_consumer_errors_total", consumer="deliver", outcome="held")
    consumer = Consumer(settings, DeliverChunk, handler, late)
    await consumer.start()
    await publisher.command(COMMAND)
    await until(lambda: held() > 0)
    assert handler.given == []

    await late.broker.start()
    await until(lambda: handler.given == [COMMAND])

    await consumer.drain()
    await late.broker.stop()


async def test_a_held_command_goes_back_when_the_worker_stops(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    handler = Handler(ConnectionRefusedError())

    async with consuming(handler, lanes=2):
        for _ in range(5):
            await publisher.command(COMMAND)
        await until(lambda: len(handler.given) >= 2)

    await outside.waiting("deliver", 5)


async def test_a_command_that_fails_goes_to_the_dead_letters(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    async with consuming(Handler(LookupError("no such thing: " + "x" * 3000))) as consumer:
        # Figures stand at 0 before: the first dead letter is an increase that an alert sees.
        assert f'clarion_dead_letters_total{{source="{consumer.queue}"}} 0.0' in exposition("worker").decode()
        given_up = growth("worker", "clarion_consumer_errors_total", consumer="deliver", outcome="given_up")
        await publisher.command(COMMAND)
        (letter,) = await outside.dead_letters(1)
        await until(lambda: value("worker", "clarion_dead_letters_total", source=consumer.queue) == 1)
        assert given_up() == 1

    assert letter.body == COMMAND.model_dump_json().encode()
    assert letter.reason.startswith("LookupError: no such thing: xxx")
    await outside.waiting("deliver", 0)


async def test_without_its_own_publisher_the_broker_puts_a_command_away(
    settings: Settings, outside: BrokerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body is kept and the queue goes on; only the reason is no longer ours."""
    monkeypatch.setattr("workers.dead_letter.FIRST_RETRY", 0.001)
    away = Publisher(settings.model_copy(update={"amqp_url": "amqp://127.0.0.1:1/"}), "away")
    consumer = Consumer(settings, DeliverChunk, Handler(DeadLetter("it will never do")), away)
    await consumer.start()

    await outside.publish(b"poison")
    (letter,) = await outside.dead_letters(1)

    assert letter.body == b"poison"
    await consumer.drain()


async def test_lanes_are_the_commands_in_work_at_once(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    """Others have come by then, and wait for a lane."""
    inside, most, go_on = 0, 0, asyncio.Event()

    async def handler(_: AnyCommand) -> Outcome:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await go_on.wait()
        inside -= 1
        return Done()

    async with consuming(handler, lanes=3) as consumer:
        for _ in range(12):
            await publisher.command(COMMAND)
        await until(lambda: len(consumer._tasks) == 5)
        await until(lambda: inside == 3)
        go_on.set()

    assert most == 3


async def test_a_command_that_waits_while_its_session_breaks_is_left_to_the_next_session(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    """The broker has it again: handled here as well it would be in work twice."""
    given: list[AnyCommand] = []
    go_on = asyncio.Event()
    second = DeliverChunk(batch_id=1, position=3)

    async def handler(command: AnyCommand) -> Outcome:
        given.append(command)
        await go_on.wait()
        return Done()

    async with consuming(handler) as consumer:
        await publisher.command(COMMAND)
        await publisher.command(second)
        await until(lambda: len(consumer._tasks) == 2)
        await until(lambda: given == [COMMAND])
        consumer.broker.end_session("test")
        await until(lambda: len(consumer._tasks) == 4)  # both have come again
        go_on.set()
        await outside.waiting("deliver", 0)
        await until(lambda: not consumer._tasks)

    assert (given.count(COMMAND), given.count(second)) == (2, 1)


class Unsettled(MessageConsumer):
    """Fails in a way that no outcome has, then is done."""

    def __init__(self, settings: Settings, publisher: Publisher, error: Exception) -> None:
        queue = Topology(settings.amqp_prefix).command_queue("deliver")
        super().__init__(settings, "deliver", queue, publisher, lanes=1, replaceable=True)
        self.errors = [error]
        self.given = 0

    async def handle(self, session: Session, message: AbstractIncomingMessage) -> Outcome:
        self.given += 1
        if self.errors:
            raise self.errors.pop()
        return Done()


@pytest.mark.parametrize("error", [LookupError("ours"), BrokerUnavailable("lost"), TimeoutError()], ids=repr)
async def test_a_message_that_was_not_settled_comes_again(
    settings: Settings, publisher: Publisher, outside: BrokerClient, error: Exception
) -> None:
    """Its place in the prefetch would be lost for ever."""
    consumer = Unsettled(settings, publisher, error)
    await consumer.start()
    await until(lambda: consumer.broker.connected)
    await publisher.command(COMMAND)

    await until(lambda: consumer.given == 2)

    await outside.waiting("deliver", 0)
    await consumer.drain()
    await outside.waiting("deliver", 0)


async def test_a_queue_deleted_under_a_consumer_is_declared_and_consumed_again(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    """The broker only cancels the consumer: channel and connection stay, and nothing would ever come again."""
    handler = Handler(Done())

    with capture_logs() as logs:
        async with consuming(handler):
            await outside.channel.queue_delete(outside.topology.command_queue("deliver"))
            await until(lambda: any(line["event"] == "broker_lost" for line in logs))
            await until(lambda: sum(line["event"] == "broker_connected" for line in logs) == 2)
            await publisher.command(COMMAND)
            await until(lambda: handler.given == [COMMAND])

    assert {"the broker cancelled a consumer"} == {line["reason"] for line in logs if line["event"] == "broker_lost"}


async def test_a_command_whose_connection_broke_is_dropped_here_and_comes_again(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    """Held here as well, every break of the connection would leave one more waiting in this process."""
    handler = Handler(ConnectionRefusedError())

    async with consuming(handler) as consumer:
        await publisher.command(COMMAND)
        await until(lambda: len(handler.given) == 1)
        handler.answers = [Done()]
        consumer.broker.end_session("test")
        await until(lambda: len(handler.given) == 2)

    await outside.waiting("deliver", 0)


async def test_a_command_that_waited_for_a_lane_while_its_connection_broke_is_handled_once(
    consuming: Consuming, publisher: Publisher, outside: BrokerClient
) -> None:
    """It comes again, and what came of it here could not be acknowledged any more."""
    waiting, last = (DeliverChunk(batch_id=1, position=position) for position in (3, 4))
    given: list[AnyCommand] = []
    go_on = asyncio.Event()

    async def handler(command: AnyCommand) -> Outcome:
        given.append(command)
        await go_on.wait()
        return Done()

    async with consuming(handler) as consumer:
        await publisher.command(COMMAND)
        await until(lambda: len(given) == 1)
        await publisher.command(waiting)
        await outside.waiting("deliver", 0)
        consumer.broker.end_session("test")
        go_on.set()
        await until(lambda: given.count(COMMAND) == 2 and waiting in given)
        await publisher.command(last)
        await until(lambda: last in given)

    assert given.count(waiting) == 1


async def test_a_redelivered_command_is_noted_once_before_it_is_tried(
    settings: Settings, publisher: Publisher, outside: BrokerClient
) -> None:
    """Its worker may have been killed by it. What comes for the first time costs nothing."""
    calls: list[str] = []
    answers: list[Exception | Outcome | None] = [ConnectionRefusedError(), None, DeadLetter("too often")]

    async def redelivered(_: AnyCommand) -> Outcome | None:
        calls.append("redelivered")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def handle(_: AnyCommand) -> Outcome:
        calls.append("handled")
        if len(calls) == 1:
            consumer.broker.end_session("test")
        raise ConnectionRefusedError

    consumer = Consumer(settings, DeliverChunk, handle, publisher, redelivered=redelivered)
    await consumer.start()
    await until(lambda: consumer.broker.connected)
    await publisher.command(COMMAND)
    await until(lambda: len(calls) >= 5)
    consumer.broker.end_session("test")
    (letter,) = await outside.dead_letters(1)
    await consumer.drain()

    assert calls[:5] == ["handled", "redelivered", "redelivered", "handled", "handled"]
    assert (calls[-1], calls.count("redelivered")) == ("redelivered", 3)
    assert letter.reason == "too often"


def redelivering(
    settings: Settings, publisher: Publisher, calls: list[str], errors: Sequence[Exception]
) -> Consumer[DeliverChunk]:
    """A consumer that loses its session at the first command, which comes again and fails so; notes what it calls."""
    left = list(errors)

    async def redelivered(_: AnyCommand) -> None:
        calls.append("redelivered")

    async def survived(_: AnyCommand) -> None:
        calls.append("survived")

    async def handle(_: AnyCommand) -> Outcome:
        calls.append("handled")
        if len(calls) == 1:
            made.broker.end_session("test")
            raise ConnectionRefusedError
        if left:
            raise left.pop(0)
        return Done()

    made = Consumer(settings, DeliverChunk, handle, publisher, redelivered=redelivered, survived=survived)
    return made


async def test_a_redelivered_command_that_something_outside_holds_up_is_forgiven_once(
    settings: Settings, publisher: Publisher, outside: BrokerClient
) -> None:
    """However often a worker is restarted before the fault is mended, none of the attempts counts."""
    calls: list[str] = []
    errors = [asyncpg.UndefinedFunctionError("no such function"), ConnectionRefusedError()]
    consumer = redelivering(settings, publisher, calls, errors)
    await consumer.start()
    await until(lambda: consumer.broker.connected)
    await publisher.command(COMMAND)
    await until(lambda: len(calls) == 6)
    await consumer.drain()

    assert calls == ["handled", "redelivered", "handled", "survived", "handled", "handled"]


async def test_a_redelivered_command_that_fails_by_itself_is_not_forgiven(
    settings: Settings, publisher: Publisher, outside: BrokerClient
) -> None:
    calls: list[str] = []
    consumer = redelivering(settings, publisher, calls, [LookupError("a fault of ours")])
    await consumer.start()
    await until(lambda: consumer.broker.connected)
    await publisher.command(COMMAND)
    (letter,) = await outside.dead_letters(1)
    await consumer.drain()

    assert calls == ["handled", "redelivered", "handled"]
    assert letter.reason == "LookupError: a fault of ours"
