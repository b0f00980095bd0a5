"""The life of one command: receive, decode, handle, judge, settle. Only this module acknowledges."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from structlog.contextvars import bound_contextvars

from service.contracts.commands import AnyCommand, parse_command
from service.contracts.topology import Topology
from service.runtime.broker import BROKEN, Broker, BrokerUnavailable, Publisher, Session, declare
from service.runtime.settings import Settings
from workers.verdict import Again, Discard, Done, Verdict, judge

log = structlog.get_logger(__name__)

FIRST_RETRY, LAST_RETRY = 0.1, 5.0  # seconds between attempts while something outside is away

Handler = Callable[[AnyCommand], Awaitable[Verdict]]


class Consumer:
    """Consumes one command queue with ``lanes`` commands in work at once."""

    def __init__(
        self, settings: Settings, name: str, handler: Handler, publisher: Publisher, *, lanes: int = 1
    ) -> None:
        self.name = name
        self._topology = Topology(settings.amqp_prefix)
        self._handler = handler
        self._publisher = publisher
        self._lanes = asyncio.Semaphore(lanes)
        # One command waits here while another is in work, so that a lane never idles for a round trip.
        self._prefetch = lanes + 1
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        self._stopping = asyncio.Event()
        self.broker = Broker(settings, f"clarion-{name}", self._open)

    async def _open(self, session: Session) -> None:
        channel = await session.channel(prefetch=self._prefetch)
        await declare(channel, self._topology)
        self._queue = await channel.get_queue(self._topology.command_queue(self.name), ensure=False)
        self._tag = await self._queue.consume(self._receive)

    async def start(self) -> None:
        """Connects and consumes, in the background."""
        await self.broker.start()

    async def drain(self) -> None:
        """Takes no new command, finishes those in work, disconnects. What was only waiting returns to the queue."""
        self._stopping.set()
        if self._queue is not None and self._tag is not None and self.broker.connected:
            try:
                await self._queue.cancel(self._tag, timeout=5)
            except BROKEN as error:
                log.warning("cancel_failed", queue=self.name, error=str(error))
        if self._tasks:
            await asyncio.gather(*self._tasks)
        await self.broker.stop()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._process(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, message: AbstractIncomingMessage) -> None:
        async with self._lanes:
            with bound_contextvars(command=self.name, message_id=message.message_id):
                verdict = await self._handle(message.body)
                await self._settle(message, verdict)

    async def _handle(self, body: bytes) -> Verdict:
        try:
            command = parse_command(body)
        except ValueError as error:
            return Discard(f"not a command of ours: {' '.join(str(error).split())[:500]}")
        with bound_contextvars(**command.model_dump(include={"batch_id", "position"})):
            return await self._run(command)

    async def _run(self, command: AnyCommand) -> Verdict:
        """Holds the command while the database or the broker is away: handing it back would only spin."""
        pause = FIRST_RETRY
        while True:
            try:
                return await self._handler(command)
            except Exception as error:
                verdict = judge(error)
                if not isinstance(verdict, Again):
                    log.exception("command_failed")
                    return verdict
            log.warning("command_held", reason=verdict.reason, retry_in=pause)
            if await self._stopped_within(pause):
                return verdict
            pause = min(pause * 2, LAST_RETRY)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _settle(self, message: AbstractIncomingMessage, verdict: Verdict) -> None:
        try:
            if isinstance(verdict, Discard):
                log.error("dead_lettered", reason=verdict.reason)
                await self._publisher.dead_letter(
                    message.body, reason=verdict.reason, source=self._topology.command_queue(self.name)
                )
            if isinstance(verdict, Done | Discard):
                await message.ack()
            else:
                await message.nack(requeue=True)
        except BrokerUnavailable as error:
            # Not put away, so not acknowledged either: it comes again.
            log.warning("dead_letter_failed", error=str(error))
            await message.nack(requeue=True)
        except BROKEN as error:
            # The connection went first; the broker hands the command out again, and the row says it is done.
            log.warning("settle_failed", error=str(error))
