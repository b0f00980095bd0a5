"""The life of one message: receive, decode, handle, judge, settle.

Only this module acknowledges, and workers.batch_consumer, which does the same for many messages at a time.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from aio_pika.abc import AbstractIncomingMessage
from opentelemetry.trace import Span, StatusCode
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from service.contracts.commands import AnyCommand, parse_command
from service.contracts.topology import Topology
from service.runtime.broker import BrokerUnavailable, Session, broker_errors
from service.runtime.messaging_spans import processing, receiving
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import HEADER, continued
from workers.backoff import FIRST_RETRY, LAST_RETRY, one_of
from workers.dead_letter import bury
from workers.outcome import Again, Discard, Done, Verdict, judge
from workers.subscription import Subscription

log = structlog.get_logger(__name__)

SETTLE_TIMEOUT = 10.0  # seconds to send an acknowledgement
DRAIN = 15.0  # seconds that messages in work have to finish when the process stops

HAND_OUTS = 10  # of one row's commands that came back without a verdict; then the row is given up
NO_VERDICT = f"handed out {HAND_OUTS} times without a verdict: its workers may have died of it"

Handler = Callable[[AnyCommand], Awaitable[Verdict]]
# Asked first about a command that was handed out before and brought no verdict; None: let it be tried.
Returned = Callable[[AnyCommand], Awaitable[Verdict | None]]


class Receiver(ABC):
    """Consumes one queue with ``lanes`` messages in work at once."""

    def __init__(
        self, settings: Settings, name: str, queue: str, publisher: Publisher, *, lanes: int, replaceable: bool
    ) -> None:
        self.name = name
        self._settings = settings
        self._publisher = publisher
        self._lanes = asyncio.Semaphore(lanes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._subscription = Subscription(
            settings,
            name,
            queue,
            lambda session: partial(self._receive, session),
            # Some messages wait here while others are in work: a quorum queue hands out the next one only when an
            # acknowledgement is on its disk, and no lane should idle for that.
            prefetch=lanes + 2,
            replaceable=replaceable,
        )
        self.broker = self._subscription.broker

    @abstractmethod
    async def handle(self, session: Session, message: AbstractIncomingMessage) -> Verdict:
        """How the message is to be settled; ``session`` is the one that brought it."""

    async def start(self) -> None:
        """Connects and consumes, in the background."""
        await self.broker.start()

    async def drain(self) -> None:
        """Takes no new message, finishes those in work, disconnects. What was only waiting returns to the queue."""
        self._stopping.set()
        await self._subscription.cancel()
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
        queue, message_id = self._subscription.queue, message.message_id
        with continued(message.headers.get(HEADER)), bound_contextvars(command=self.name, message_id=message_id):
            with receiving(queue, message_id):
                await self._lanes.acquire()
            try:
                with processing(queue, message_id) as span:
                    await self._answer(session, message, span)
            except (BrokerUnavailable, TimeoutError) as error:
                # The broker hands the command out again, and the row says what was done.
                session.end("a command could not be settled")
                log.warning("settle_failed", error=str(error) or type(error).__name__)
            except Exception:
                # Unsettled it would hold its place in the prefetch for ever; with its session it is handed back.
                session.end("a command was not settled")
                log.exception("command_unsettled")
            finally:
                self._lanes.release()

    async def _answer(self, session: Session, message: AbstractIncomingMessage, span: Span) -> None:
        if session.broken.is_set():
            return  # waited here while its connection broke, and was handed to somebody else
        verdict = Again("stopping") if self._stopping.is_set() else await self.handle(session, message)
        if isinstance(verdict, Discard):
            span.set_status(StatusCode.ERROR, verdict.reason)
            source, ends = self._subscription.queue, (self._stopping, session.broken)
            verdict = await bury(self._publisher, message, verdict.reason, source=source, ends=ends)
        async with asyncio.timeout(SETTLE_TIMEOUT):
            with broker_errors():
                match verdict:
                    case Done():
                        await message.ack()
                    case Again():
                        await message.nack(requeue=True)
                    case Discard():
                        await message.nack(requeue=False)

    async def held(self, session: Session, step: Callable[[], Awaitable[Verdict]]) -> Verdict:
        """Repeats the step while the database or the broker is away: handing the message back would only spin."""
        pause = FIRST_RETRY
        while True:
            try:
                return await step()
            except Exception as error:
                verdict = judge(error)
                if not isinstance(verdict, Again):
                    log.exception("command_failed")
                    return verdict
            log.warning("command_held", reason=verdict.reason, retry_in=pause)
            if await self.ends(session, within=pause):
                return verdict
            pause = min(pause * 2, LAST_RETRY)

    async def ends(self, session: Session, *, within: float) -> bool:
        """Whether, in so many seconds, the process stops or the message is handed to somebody else."""
        return await one_of(self._stopping, session.broken, within=within)


class Consumer(Receiver):
    """Consumes one command queue. It may be deleted and lost: what its commands name is told again by the database."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        handler: Handler,
        publisher: Publisher,
        *,
        lanes: int = 1,
        returned: Returned | None = None,
    ) -> None:
        queue = Topology(settings.amqp_prefix).command_queue(name)
        super().__init__(settings, name, queue, publisher, lanes=lanes, replaceable=True)
        self._handler = handler
        self._returned = returned

    async def handle(self, session: Session, message: AbstractIncomingMessage) -> Verdict:
        """Decodes the command and has it carried out."""
        try:
            command = parse_command(message.body)
        except ValidationError as error:
            return Discard(f"not a command of ours: {_faults(error)}")
        if command.name != self.name:
            return Discard(f"{command.name} among commands to {self.name}")
        with bound_contextvars(**command.model_dump(exclude={"name", "version"})):
            return await self.held(session, self._step(command, returned=bool(message.redelivered)))

    def _step(self, command: AnyCommand, *, returned: bool) -> Callable[[], Awaitable[Verdict]]:
        """What is repeated until there is a verdict. That the command came back is noted once."""
        asked = [self._returned] if returned and self._returned is not None else []

        async def step() -> Verdict:
            while asked:
                verdict = await asked[-1](command)
                asked.pop()
                if verdict is not None:
                    return verdict
            return await self._handler(command)

        return step


def _faults(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in found)
