"""One supervised RabbitMQ connection: connect, set up, serve until it breaks, begin again.

aio-pika's robust connection restores channels and consumers in place and has been seen to come back without its
consumers, or to die of a 406 for good; here a broken connection is thrown away with everything on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import PublishError

from service.contracts.commands import AnyCommand
from service.contracts.topology import Topology
from service.runtime.settings import Settings

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 10.0  # seconds
SETUP_TIMEOUT = 30.0  # seconds to connect and set up; a queue without a leader lets a request wait for ever
PUBLISH_TIMEOUT = 10.0  # seconds for a confirm; then the outcome counts as unknown
CLOSE_TIMEOUT = 5.0  # seconds for an orderly end of a connection
HEARTBEAT = 10  # seconds; a broker that is silent for three of them is gone, even if no packet says so
FIRST_RETRY, LAST_RETRY = 0.2, 5.0  # seconds between attempts to connect
REASON_LIMIT = 2000  # characters of a dead letter's reason: a header has to fit one frame


class BrokerUnavailable(Exception):
    """The broker did not do as asked. It may or may not have happened; what was said must be said again later."""


@contextmanager
def broker_errors() -> Iterator[None]:
    """Makes BrokerUnavailable of whatever the block raises.

    aiormq ends what waits on a lost connection with its own errors, but also with a bare Exception (the other side
    closed between two frames) and with CancelledError (the heartbeat stopped), although nobody cancelled this task.
    """
    try:
        yield
    except BrokerUnavailable:
        raise
    except Exception as error:
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailable("the connection was lost") from error


class Session:
    """One life of the connection: everything here dies with it."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self.broken = asyncio.Event()
        self.reason = ""
        connection.close_callbacks.add(lambda _, error: self.end(f"connection closed: {error}"))

    def end(self, reason: str) -> None:
        """Gives this life up, for the first reason that is told; the supervisor begins the next one."""
        if not self.broken.is_set():
            self.reason = reason
            self.broken.set()

    async def channel(self, *, prefetch: int | None = None) -> AbstractChannel:
        """A channel with publisher confirms, unroutable publishes raising; its end is the session's end.

        So is the end of a consumer on it: a queue that was deleted, or lost its leader, cancels its consumers and
        leaves channel and connection as if nothing had happened.
        """
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.close_callbacks.add(lambda _, error: self.end(f"channel closed: {error}"))
        wire = await channel.get_underlay_channel()
        wire.on_consumer_cancel_callbacks.add(lambda _: self.end("the broker cancelled a consumer"))
        if prefetch is not None:
            await channel.set_qos(prefetch_count=prefetch)
        return channel


class Broker:
    """Keeps a session alive. ``setup`` runs on every new session, before it counts as connected."""

    def __init__(self, settings: Settings, name: str, setup: Callable[[Session], Awaitable[None]]) -> None:
        self._url = _with_heartbeat(str(settings.amqp_url))
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

    def end_session(self, reason: str) -> None:
        """Throws the connection away, with everything on it, and begins again."""
        if self._session is not None:
            self._session.end(reason)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_RETRY
        while True:
            began = loop.time()
            try:
                reason = await self._live()
            except BrokerUnavailable as error:
                log.warning("broker_unavailable", connection=self._name, error=str(error), retry_in=pause)
            else:
                # Sessions that end as soon as they begin are retried as slowly as those that do not begin at all.
                pause = FIRST_RETRY if loop.time() - began > LAST_RETRY else pause
                log.warning("broker_lost", connection=self._name, reason=reason, retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)

    async def _live(self) -> str:
        """One session from its beginning to its end; why it ended. BrokerUnavailable when it did not begin."""
        async with AsyncExitStack() as stack:
            with broker_errors():
                async with asyncio.timeout(SETUP_TIMEOUT):
                    session = await self._connect(stack)
                    await self._setup(session)
            self._session = session
            try:
                log.info("broker_connected", connection=self._name)
                await session.broken.wait()
            finally:
                self._session = None
            return session.reason

    async def _connect(self, stack: AsyncExitStack) -> Session:
        connection = await aio_pika.connect(
            self._url,
            timeout=CONNECT_TIMEOUT,
            client_properties={"connection_name": self._name},
        )
        stack.push_async_callback(_close, connection)
        return Session(connection)


def _with_heartbeat(url: str) -> str:
    if "heartbeat=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT}"


async def _close(connection: AbstractConnection) -> None:
    with suppress(BrokerUnavailable), broker_errors():  # it may be broken already, which is why it is closed
        await asyncio.wait_for(connection.close(), CLOSE_TIMEOUT)


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
            headers={"reason": _header(reason), "source": source},
        )
        await self._publish(self._dead, message, source)

    async def _publish(self, exchange: AbstractExchange | None, message: aio_pika.Message, key: str) -> None:
        if exchange is None or not self.connected:
            raise BrokerUnavailable("not connected")
        with broker_errors():
            try:
                await exchange.publish(message, key, mandatory=True, timeout=PUBLISH_TIMEOUT)
            except PublishError:
                # The queue is gone. A new session declares it.
                self.broker.end_session("a publish was returned")
                raise


def _header(text: str) -> str:
    return text[:REASON_LIMIT].encode("utf-8", "replace").decode("utf-8")


COMMANDS = ("plan", "deliver", "reply", "update")


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
