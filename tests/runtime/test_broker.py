"""The supervised connection: whatever ends it, the next one is made, and nothing waits for ever meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aio_pika import Message
from pydantic_core import Url
from structlog.testing import capture_logs

from service.contracts.commands import PlanBatch
from service.domain.dead_letters import REASON_LIMIT
from service.runtime.broker import Broker, BrokerUnavailable, Session, broker_errors
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.waiting import PATIENCE, until

COMMAND = PlanBatch(batch_id=1)


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """Connected; its queues are removed in the end."""
    made = Publisher(settings, "test")
    await made.broker.start()
    await until(lambda: made.connected)
    yield made
    await made.broker.stop()
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


class Road:
    """A way to the broker that can be blocked: packets are then swallowed in both directions, and nothing closes."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.blocked = asyncio.Event()

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; those made after a block pass."""
        blocked = self.blocked
        far_reader, far_writer = await asyncio.open_connection(*self._there)
        self._writers += (writer, far_writer)
        for source, target in ((reader, far_writer), (far_reader, writer)):
            self._tasks.append(asyncio.create_task(self._carry(source, target, blocked)))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, blocked: asyncio.Event) -> None:
        try:
            while data := await source.read(65_536):
                if not blocked.is_set():
                    target.write(data)
        except ConnectionError:
            pass  # one side has gone, which the other learns next
        finally:
            if not blocked.is_set():
                target.close()

    def block(self) -> None:
        """From now on, for the connections there are."""
        self.blocked.set()
        self.blocked = asyncio.Event()

    async def end(self) -> None:
        """Nothing is carried any more."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks, *(writer.wait_closed() for writer in self._writers), return_exceptions=True)


@asynccontextmanager
async def road_to_broker(settings: Settings, query: str) -> AsyncIterator[tuple[Road, Settings]]:
    """The road, and settings that take it."""
    there = Url(settings.amqp_url)
    road = Road(there.host or "", there.port or 5672)
    server = await asyncio.start_server(road.enter, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    url = Url.build(
        scheme="amqp", username=there.username, password=there.password, host=host, port=port, query=query or None
    )
    yield road, settings.model_copy(update={"amqp_url": str(url)})
    server.close()
    await road.end()


@pytest.mark.parametrize("query", ["heartbeat=1", ""], ids=["the URL's heartbeat", "our own"])
async def test_a_broker_that_falls_silent_is_given_up_and_found_again(
    settings: Settings, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No packet says that the other side is gone; only the heartbeat that does not come."""
    monkeypatch.setattr("service.runtime.broker.HEARTBEAT", 1 if not query else 10**4)
    with capture_logs() as logs:
        async with road_to_broker(settings, query) as (road, by_road):
            publisher = Publisher(by_road, "test")
            await publisher.broker.start()
            await until(lambda: publisher.connected)
            await publisher.command(COMMAND)

            road.block()
            with pytest.raises(BrokerUnavailable):
                await publisher.command(COMMAND)
            await until(lambda: sum(line["event"] == "broker_connected" for line in logs) == 2)

            await publisher.command(COMMAND)
            await publisher.broker.stop()
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


async def test_a_publish_without_a_connection_fails_at_once(settings: Settings) -> None:
    publisher = Publisher(settings, "test")

    with pytest.raises(BrokerUnavailable, match="not connected"):
        await publisher.command(COMMAND)


async def test_a_queue_that_is_gone_is_declared_again(settings: Settings, publisher: Publisher) -> None:
    """A publish that no queue takes is an error, and the reason to look after the queues."""
    async with broker_client(settings) as operator:
        await operator.channel.queue_delete(operator.topology.command_queue("plan"))

        with pytest.raises(BrokerUnavailable, match="NO_ROUTE"):
            await publisher.command(COMMAND)
        await until(lambda: publisher.connected)
        await publisher.command(COMMAND)

        await operator.waiting("plan", 1)


async def test_an_exchange_that_is_gone_is_declared_again(settings: Settings, publisher: Publisher) -> None:
    async with broker_client(settings) as operator:
        await operator.channel.exchange_delete(operator.topology.commands)

        with capture_logs() as logs:
            with pytest.raises(BrokerUnavailable, match="NOT_FOUND"):
                await publisher.command(COMMAND)
            await until(lambda: any(line["event"] == "broker_connected" for line in logs))
        await publisher.command(COMMAND)


@pytest.mark.parametrize("reason", ["", "\0", "lone \ud800 surrogate", "ü" * 100_000], ids=ascii)
async def test_any_reason_fits_a_dead_letter(settings: Settings, publisher: Publisher, reason: str) -> None:
    async with broker_client(settings) as outside:
        await publisher.dead_letter(
            Message(b"body"), reason=reason, source="somewhere", routing_key="key", now=datetime.now(UTC)
        )
        (letter,) = await outside.dead_letters(1)

    assert letter.body == b"body"
    assert len(letter.reason) <= REASON_LIMIT
    assert letter.reason == reason[:REASON_LIMIT].replace("\ud800", "?")


@pytest.mark.parametrize(("size", "kept"), [(1_000, True), (125_000, False)])
async def test_headers_that_leave_no_room_for_the_reason_are_dropped(
    settings: Settings, publisher: Publisher, size: int, *, kept: bool
) -> None:
    """Both go in one frame: one that is too long would end the connection, with all that is on its way there."""
    original = Message(b"body", headers={"note": "x" * size})
    async with broker_client(settings) as outside:
        with capture_logs() as logs:
            await publisher.dead_letter(
                original, reason="ü" * REASON_LIMIT, source="somewhere", routing_key="key", now=datetime.now(UTC)
            )
        queue = await outside.channel.get_queue(outside.topology.dead, ensure=False)
        letter = await queue.get(no_ack=True)

    assert ("note" in letter.headers) == kept
    assert letter.headers["reason"] == "ü" * REASON_LIMIT
    assert not logs


@pytest.mark.parametrize("fault", [LookupError("a fault of ours"), Exception(), asyncio.CancelledError()], ids=repr)
async def test_no_fault_in_setting_up_ends_the_supervision(settings: Settings, fault: BaseException) -> None:
    """aiormq raises a bare Exception or CancelledError for connections lost at the wrong moment."""
    faults = [fault, fault]

    async def setup(_: Session) -> None:
        if faults:
            raise faults.pop()

    broker = Broker(settings, "test", setup)
    await broker.start()
    await until(lambda: broker.connected)

    assert faults == []
    await broker.stop()
    assert not broker.connected


async def test_a_setup_that_never_ends_is_cut_short(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.runtime.broker.SETUP_TIMEOUT", 0.2)
    attempts = 0

    async def setup(_: Session) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await asyncio.Event().wait()

    broker = Broker(settings, "test", setup)
    await broker.start()
    await until(lambda: broker.connected)

    assert attempts == 2
    await broker.stop()


@pytest.mark.parametrize("instead", [None, LookupError("cancelled")], ids=repr)
async def test_a_cancellation_lost_in_the_setup_does_not_keep_it_from_stopping(
    settings: Settings, instead: Exception | None
) -> None:
    """aio-pika may lose one while it opens a connection or a channel: a worker stopped at that moment ran on."""
    entered, lost = asyncio.Event(), asyncio.Event()

    async def setup(_: Session) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if lost.is_set():
                raise
            lost.set()
            if instead is not None:
                raise instead from None

    broker = Broker(settings, "test", setup)
    await broker.start()
    await entered.wait()
    async with asyncio.timeout(PATIENCE):
        await broker.stop()

    assert not broker.connected


async def test_a_cancellation_that_was_not_requested_is_a_broken_connection() -> None:
    with pytest.raises(BrokerUnavailable), broker_errors():
        raise asyncio.CancelledError


async def test_a_task_that_is_cancelled_stays_cancelled() -> None:
    async def wait() -> None:
        with broker_errors():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_not_as_it_should_be_is_looked_at_soon_and_then_ever_less_often(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may be declaring it just now."""
    pauses: list[float] = []
    enough = asyncio.Event()

    async def pass_at_once(event: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 9:
            enough.set()
            await event.wait()
        return event.is_set()

    async def nothing(_: Session) -> None:
        pass

    monkeypatch.setattr("service.runtime.broker._set_within", pass_at_once)
    broker = Broker(settings, "test", nothing, nothing)
    await broker.start()
    await enough.wait()
    await broker.stop()
    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
