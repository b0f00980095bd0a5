"""One supervised RabbitMQ connection: connect, set up, serve until it breaks, begin again.

aio-pika's robust connection restores channels and consumers in place and has been seen to come back without its
consumers, or to die of a 406 for good; here a broken connection is thrown away with everything on it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import AMQPError as WireError

from service.contracts.commands import AnyCommand
from service.contracts.topology import Topology
from service.runtime.settings import Settings

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 10.0  # seconds
PUBLISH_TIMEOUT = 10.0  # seconds for a confirm; then the outcome counts as unknown
FIRST_RETRY, LAST_RETRY = 0.2, 5.0  # seconds between attempts to connect

# All that a broker that is away, going or refusing may raise at us.
BROKEN = (AMQPError, WireError, OSError, TimeoutError, asyncio.InvalidStateError, RuntimeError)


class BrokerUnavailable(Exception):
    """A publish was not confirmed. It may or may not have happened; what it said must be said again later."""


class Session:
    """One life of the connection: everything here dies with it."""

    def __init__(self, connection: AbstractConnection, name: str) -> None:
        self.connection = connection
        self.name = name
        self.broken = asyncio.Event()
        connection.close_callbacks.add(lambda *_: self.broken.set())

    async def channel(self, *, prefetch: int | None = None) -> AbstractChannel:
        """A channel with publisher confirms, unroutable publishes raising; its end is the session's end."""
        channel = await self.connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.close_callbacks.add(lambda *_: self.broken.set())
        if prefetch is not None:
            await channel.set_qos(prefetch_count=prefetch)
        return channel


class Broker:
    """Keeps a session alive. ``setup`` runs on every new session, before it counts as connected."""

    def __init__(self, settings: Settings, name: str, setup: Callable[[Session], Awaitable[None]]) -> None:
        self._url = str(settings.amqp_url)
        self._name = name
        self._setup = setup
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker can be used right now."""
        return self._session is not None and not self._session.broken.is_set()

    async def start(self) -> None:
        """Begins connecting in the background; returns at once."""
        self._task = asyncio.create_task(self._supervise(), name=f"broker-{self._name}")

    async def stop(self) -> None:
        """Closes the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _supervise(self) -> None:
        pause = FIRST_RETRY
        while True:
            try:
                async with AsyncExitStack() as stack:
                    session = await self._connect(stack)
                    await self._setup(session)
                    self._session = session
                    log.info("broker_connected", connection=self._name)
                    pause = FIRST_RETRY
                    await session.broken.wait()
                    log.warning("broker_lost", connection=self._name)
            except BROKEN as error:
                log.warning("broker_unavailable", connection=self._name, error=str(error), retry_in=pause)
            self._session = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)

    async def _connect(self, stack: AsyncExitStack) -> Session:
        connection = await aio_pika.connect(
            self._url, timeout=CONNECT_TIMEOUT, client_properties={"connection_name": self._name}
        )
        stack.push_async_callback(_close, connection)
        return Session(connection, self._name)


async def _close(connection: AbstractConnection) -> None:
    with suppress(*BROKEN):  # it may be broken already, which is why it is closed
        await asyncio.wait_for(connection.close(), timeout=5)


class Publisher:
    """Publishes commands, each confirmed by the broker; mandatory, so a missing queue is an error."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._topology = Topology(settings.amqp_prefix)
        self._commands: AbstractExchange | None = None
        self._dead: AbstractExchange | None = None
        self.broker = Broker(settings, name, self._open)

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance."""
        return self.broker.connected

    async def _open(self, session: Session) -> None:
        channel = await session.channel()
        await declare(channel, self._topology)
        self._commands = await channel.get_exchange(self._topology.commands, ensure=False)
        self._dead = await channel.get_exchange(self._topology.dead, ensure=False)

    async def command(self, command: AnyCommand) -> None:
        """Publishes one command; BrokerUnavailable when it was not confirmed."""
        message = aio_pika.Message(
            command.model_dump_json().encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=command.message_id,
            type=command.name,
        )
        await self._publish(self._commands, message, command.name)

    async def dead_letter(self, body: bytes, *, reason: str, source: str) -> None:
        """Puts away what could not be handled, as it came; BrokerUnavailable when it was not confirmed."""
        message = aio_pika.Message(
            body,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers={"reason": reason, "source": source},
        )
        await self._publish(self._dead, message, source)

    async def _publish(self, exchange: AbstractExchange | None, message: aio_pika.Message, key: str) -> None:
        if exchange is None or not self.connected:
            raise BrokerUnavailable("not connected")
        try:
            await exchange.publish(message, key, mandatory=True, timeout=PUBLISH_TIMEOUT)
        except BROKEN as error:
            raise BrokerUnavailable(str(error) or type(error).__name__) from error


COMMANDS = ("plan", "deliver")


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Declares all exchanges and queues; repeating it changes nothing."""
    commands = await channel.declare_exchange(topology.commands, aio_pika.ExchangeType.DIRECT, durable=True)
    dead = await channel.declare_exchange(topology.dead, aio_pika.ExchangeType.FANOUT, durable=True)
    graveyard = await channel.declare_queue(topology.dead, durable=True, arguments={"x-queue-type": "quorum"})
    await graveyard.bind(dead)
    for name in COMMANDS:
        queue = await channel.declare_queue(
            topology.command_queue(name), durable=True, arguments=topology.command_queue_arguments()
        )
        await queue.bind(commands, routing_key=name)
