"""The life of one command: receive, decode, handle, judge, settle. Only this module acknowledges."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from service.contracts.commands import AnyCommand, parse_command
from service.contracts.topology import Topology
from service.runtime.broker import Broker, BrokerUnavailable, Publisher, Session, broker_errors, declare
from service.runtime.settings import Settings
from workers.verdict import Again, Discard, Done, Verdict, judge

log = structlog.get_logger(__name__)

FIRST_RETRY, LAST_RETRY = 0.1, 5.0  # seconds between attempts while something outside is away
BURIALS = 5  # attempts at a dead letter with its reason; then the broker's own dead-lettering takes it
SETTLE_TIMEOUT = 10.0  # seconds to send an acknowledgement
DRAIN = 15.0  # seconds that commands in work have to finish when the process stops
CANCEL_TIMEOUT = 5.0  # seconds
CONSUME_TIMEOUT = 5.0  # seconds until a queue that works has answered
UNUSABLE_AFTER = 2  # sessions in a row in which the queue did not answer

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
        # Some commands wait here while others are in work: a quorum queue hands out the next one only when an
        # acknowledgement is on its disk, and no lane should idle for that.
        self._prefetch = lanes + 2
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        self._unanswered = 0
        self._stopping = asyncio.Event()
        self.broker = Broker(settings, f"clarion-{name}", self._open)

    async def _open(self, session: Session) -> None:
        channel = await session.channel(prefetch=self._prefetch)
        await declare(channel, self._topology)
        name = self._topology.command_queue(self.name)
        self._queue = await channel.get_queue(name, ensure=False)
        try:
            self._tag = await self._queue.consume(partial(self._receive, session), timeout=CONSUME_TIMEOUT)
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered >= UNUSABLE_AFTER:
                await self._remove_unusable(session, name)
            raise
        self._unanswered = 0

    async def _remove_unusable(self, session: Session, name: str) -> None:
        """Deletes the queue, for the next session to declare it anew.

        A broker killed within a second of the declaration comes back with a queue that can be declared and has no
        leader, for good (DESIGN 4). What was in it is committed in the database, and commanded again.
        """
        log.error("queue_unusable", queue=name, sessions=self._unanswered)
        self._unanswered = 0
        channel = await session.channel()
        await channel.queue_delete(name)

    async def start(self) -> None:
        """Connects and consumes, in the background."""
        await self.broker.start()

    async def drain(self) -> None:
        """Takes no new command, finishes those in work, disconnects. What was only waiting returns to the queue."""
        self._stopping.set()
        if self._queue is not None and self._tag is not None and self.broker.connected:
            try:
                with broker_errors():
                    await self._queue.cancel(self._tag, timeout=CANCEL_TIMEOUT)
            except BrokerUnavailable as error:
                log.warning("cancel_failed", queue=self.name, error=str(error))
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN)
            for task in late:
                log.warning("command_abandoned", queue=self.name)
                task.cancel()
        await self.broker.stop()

    async def _receive(self, session: Session, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._process(session, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, session: Session, message: AbstractIncomingMessage) -> None:
        async with self._lanes:
            with bound_contextvars(command=self.name, message_id=message.message_id):
                try:
                    await self._answer(session, message)
                except (BrokerUnavailable, TimeoutError) as error:
                    # The broker hands the command out again, and the row says what was done.
                    session.end("a command could not be settled")
                    log.warning("settle_failed", error=str(error) or type(error).__name__)
                except Exception:
                    # Unsettled it would hold its place in the prefetch for ever; with its session it is handed back.
                    session.end("a command was not settled")
                    log.exception("command_unsettled")

    async def _answer(self, session: Session, message: AbstractIncomingMessage) -> None:
        if session.broken.is_set():
            return  # waited here while its connection broke, and was handed to somebody else
        verdict = Again("stopping") if self._stopping.is_set() else await self._handle(session, message.body)
        if isinstance(verdict, Discard):
            verdict = await self._bury(session, message.body, verdict)
        async with asyncio.timeout(SETTLE_TIMEOUT):
            with broker_errors():
                match verdict:
                    case Done():
                        await message.ack()
                    case Again():
                        await message.nack(requeue=True)
                    case Discard():
                        await message.nack(requeue=False)

    async def _handle(self, session: Session, body: bytes) -> Verdict:
        try:
            command = parse_command(body)
        except ValidationError as error:
            return Discard(f"not a command of ours: {_faults(error)}")
        if command.name != self.name:
            return Discard(f"{command.name} among commands to {self.name}")
        with bound_contextvars(**command.model_dump(exclude={"name", "version"})):
            return await self._run(session, command)

    async def _run(self, session: Session, command: AnyCommand) -> Verdict:
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
            if await self._ends_within(session, pause):
                return verdict
            pause = min(pause * 2, LAST_RETRY)

    async def _bury(self, session: Session, body: bytes, verdict: Discard) -> Verdict:
        """Puts the command away with its reason; Discard when only the broker can still put it away, without one."""
        pause = FIRST_RETRY
        for _ in range(BURIALS):
            try:
                await self._publisher.dead_letter(
                    body, reason=verdict.reason, source=self._topology.command_queue(self.name)
                )
            except BrokerUnavailable as error:
                log.warning("dead_letter_failed", error=str(error), retry_in=pause)
            else:
                log.error("dead_lettered", reason=verdict.reason)
                return Done()
            if await self._ends_within(session, pause):
                return Again("not yet among the dead letters")
            pause *= 2
        log.error("dead_lettered_by_broker", reason=verdict.reason)
        return verdict

    async def _ends_within(self, session: Session, seconds: float) -> bool:
        """Waits; True at once when the process stops, or the connection that brought the command breaks."""
        ends = [asyncio.create_task(event.wait()) for event in (self._stopping, session.broken)]
        done, waiting = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return bool(done)


def _faults(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in found)
