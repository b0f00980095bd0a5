"""One supervised RabbitMQ connection: connect, set up, use until it breaks, connect again.

aio-pika's robust connection restores channels and consumers in place and has been seen to come back without its
consumers, or to end with a 406 for good; here a broken connection is thrown away with everything on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from itertools import cycle

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import PublishError
from aiormq.exceptions import ChannelAccessRefused

from service.contracts.topology import Topology
from service.runtime.broker_faults import reason_of, unreachable
from service.runtime.queue_counts import QueueCount, QueueCounts
from service.runtime.settings import Settings, nodes_of
from service.runtime.topology import Fault, declare, is_there

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 10.0  # seconds
SETUP_TIMEOUT = 30.0  # seconds to connect and set up; a queue without a leader lets a request wait for ever
PUBLISH_TIMEOUT = 10.0  # seconds for a confirm; then the outcome counts as unknown
CLOSE_TIMEOUT = 5.0  # seconds for an orderly end of a connection
HEARTBEAT = 10  # seconds; a broker that is silent for three of them is gone, even if no packet says so
FIRST_RETRY, LAST_RETRY = 0.2, 5.0  # seconds between attempts to connect
_SHORTLY = 0.01  # seconds; what is known already is known in less
_NO_QUEUE = "clarion.probe"  # a routing key to which no queue is bound
# Seconds between two looks at exchanges and queues: soon after the beginning, when another process may be declaring
# them, and then ever less often.
FIRST_RECHECK, RECHECK = 1.0, 60.0


class BrokerUnavailable(Exception):
    """The broker did not confirm. The operation may have happened or not; a publish has to be repeated later."""


@contextmanager
def broker_errors() -> Iterator[None]:
    """Makes BrokerUnavailable of whatever the block raises.

    aiormq ends what waits on a lost connection with its own errors, but also with a bare Exception (the other side
    closed between two frames) and with CancelledError (the heartbeat stopped), although this task was not cancelled.
    """
    try:
        yield
    except BrokerUnavailable:
        raise
    except Exception as error:
        raise BrokerUnavailable(reason_of(error)) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailable("the connection was lost") from error


async def connect(url: str, name: str) -> AbstractConnection:
    """A connection to one node, under a name that operators see; BrokerUnavailable names the node and the reason."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            with broker_errors():
                return await aio_pika.connect(_with_heartbeat(url), client_properties={"connection_name": name})
    except (BrokerUnavailable, TimeoutError) as error:
        cause = error if isinstance(error, TimeoutError) else error.__cause__ or error
        raise BrokerUnavailable(unreachable(url, cause)) from error


async def connect_to_any(urls: str, name: str) -> AbstractConnection:
    """A connection to the first node that can be had; BrokerUnavailable has the reason of each."""
    reasons = []
    for url in nodes_of(urls):
        try:
            return await connect(url, name)
        except BrokerUnavailable as error:
            reasons.append(str(error))
    raise BrokerUnavailable("; ".join(reasons))


class Session:
    """One connection with its channels; they end together."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self.broken = asyncio.Event()
        self.reason = ""
        self.queue_counts = QueueCounts(connection)
        connection.close_callbacks.add(lambda _, error: self.end(f"connection closed: {error}"))

    def end(self, reason: str) -> None:
        """Ends the session, for the first reason that is given; the supervisor begins the next one."""
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

    async def blocked(self) -> bool:
        """Whether the broker takes no messages for now: it is short of memory or disk."""
        transport = self._connection.transport
        if transport is None:
            return False
        try:
            async with asyncio.timeout(_SHORTLY):
                await transport.connection.ready()
        except TimeoutError:
            return True
        return False

    async def refusal(self, exchange: str) -> str | None:
        """Why the broker would not take a message for the exchange, in its words; None when it would.

        It is tried with a message that no queue gets: nothing but a publish asks for the permission to publish, and a
        channel that has been used remembers it.
        """
        try:
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            try:
                to = await channel.get_exchange(exchange, ensure=False)
                await to.publish(aio_pika.Message(b""), _NO_QUEUE, mandatory=True)
            except PublishError:
                return None
            finally:
                await channel.close()
        except ChannelAccessRefused as refused:
            return str(refused)
        return None

    async def declare(self, topology: Topology) -> tuple[Fault, ...]:
        """Declares everything, or finds it there; what is not as it should be."""
        return await declare(self._connection, topology)

    async def has_queue(self, queue: str) -> bool:
        """Whether there is such a queue."""
        return await is_there(self._connection, queue)

    async def find_queue(self, topology: Topology, queue: str) -> None:
        """Looks for a queue that others declare, and declares everything where it is not there.

        BrokerUnavailable, with what to do, when it is missing and this user may not declare it.
        """
        if not await self.has_queue(queue):
            require(await self.declare(topology), queue)


def require(faults: Iterable[Fault], name: str) -> None:
    """BrokerUnavailable when the exchange or queue of that name is among the faults and cannot be used."""
    for fault in faults:
        if fault.name == name and not fault.usable:
            raise BrokerUnavailable(str(fault))


class Broker:
    """Keeps a session alive, on the next of the broker's nodes when one ends or does not begin.

    ``setup`` runs on every new session, before it counts as connected, ``recheck`` after FIRST_RECHECK seconds, and at
    last every RECHECK seconds.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        setup: Callable[[Session], Awaitable[None]],
        recheck: Callable[[Session], Awaitable[None]] | None = None,
    ) -> None:
        self._nodes = cycle(nodes_of(str(settings.amqp_url)))
        self._name = name
        self._setup = setup
        self._recheck = recheck
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the broker can be used right now."""
        return self._session is not None and not self._session.broken.is_set()

    async def start(self) -> None:
        """Begins connecting in the background; returns at once. One that was stopped can be started again."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._supervise(), name=f"broker-{self._name}")

    async def stop(self) -> None:
        """Closes the connection, or the one that is being made.

        A cancellation that comes while a connection or a channel is opened may be lost in the client library, which
        then goes on as if nothing had happened: the supervisor also looks whether it was stopped.
        """
        self._stopping.set()
        self.end_session("stopping")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])  # unlike awaiting the task itself, it tells whose cancellation comes
            if not self._task.cancelled():
                self._task.result()

    async def complaint(self, exchange: str) -> str | None:
        """Why nothing can be published to the exchange right now; None when it can."""
        session = self._session
        if session is None:
            return "not connected"
        with broker_errors():
            if await session.blocked():
                return "the broker is short of memory or disk and takes no messages (connection.blocked)"
            return await session.refusal(exchange)

    async def count_queue(self, queue: str) -> QueueCount | None:
        """What is in a queue and who consumes from it, None where it is missing; BrokerUnavailable."""
        session = self._session
        if session is None:
            raise BrokerUnavailable("not connected")
        with broker_errors():
            return await session.queue_counts.count(queue)

    def end_session(self, reason: str) -> None:
        """Throws the connection away, with everything on it, and begins again."""
        if self._session is not None:
            self._session.end(reason)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_RETRY
        while not self._stopping.is_set():
            began = loop.time()
            try:
                reason = await self._run_session()
            except BrokerUnavailable as error:
                log.warning("broker_unavailable", connection=self._name, error=str(error), retry_in=pause)
            else:
                if self._stopping.is_set():
                    return
                # Sessions that end as soon as they begin are retried as slowly as those that do not begin at all.
                pause = FIRST_RETRY if loop.time() - began > LAST_RETRY else pause
                log.warning("broker_lost", connection=self._name, reason=reason, retry_in=pause)
            await _set_within(self._stopping, pause)
            pause = min(pause * 2, LAST_RETRY)

    async def _run_session(self) -> str:
        """One session from its beginning to its end; why it ended. BrokerUnavailable when it did not begin."""
        async with AsyncExitStack() as stack:
            with broker_errors():
                async with asyncio.timeout(SETUP_TIMEOUT):
                    session = await self._connect(stack)
                    await self._setup(session)
            if self._stopping.is_set():
                return "stopping"
            self._session = session
            try:
                log.info("broker_connected", connection=self._name)
                await self._wait_for_end(session)
            finally:
                self._session = None
            return session.reason

    async def _wait_for_end(self, session: Session) -> None:
        """Returns when the session has ended, of itself or because something was found wrong with it."""
        pause = min(FIRST_RECHECK, RECHECK)
        while self._recheck is not None and not await _set_within(session.broken, pause):
            pause = min(2 * pause, RECHECK)
            try:
                with broker_errors():
                    async with asyncio.timeout(SETUP_TIMEOUT):
                        await self._recheck(session)
            except BrokerUnavailable as error:
                session.end(str(error))
        await session.broken.wait()

    async def _connect(self, stack: AsyncExitStack) -> Session:
        connection = await connect(next(self._nodes), self._name)
        stack.push_async_callback(_close, connection)
        return Session(connection)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Python 3.11's wait_for would swallow a cancellation that comes together with the event."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _with_heartbeat(url: str) -> str:
    if "heartbeat=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT}"


async def _close(connection: AbstractConnection) -> None:
    with suppress(BrokerUnavailable), broker_errors():  # it may be broken already, which is why it is closed
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await connection.close()
