"""The life of one message: receive, decode, handle, settle.

Only this module acknowledges, and workers.batch_consumer, which does the same for many messages at a time.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

import structlog
from aio_pika.abc import AbstractIncomingMessage
from opentelemetry.trace import Span, StatusCode
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from service.contracts.commands import AnyCommand, parse_command
from service.contracts.topology import Topology
from service.contracts.wording import worded
from service.runtime import metrics
from service.runtime.broker import BrokerUnavailable, Session, broker_errors
from service.runtime.messaging_spans import processing, receiving
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import HEADER, continued
from workers.backoff import pauses
from workers.dead_letter import Refused
from workers.outcome import DeadLetter, Done, Outcome, Requeue, is_outside, outcome_of
from workers.queue_consumer import SETTLE_TIMEOUT, QueueConsumer
from workers.subscription import Receive

log = structlog.get_logger(__name__)

CommandT = TypeVar("CommandT", bound=AnyCommand)


class MessageConsumer(QueueConsumer):
    """Consumes one queue with ``lanes`` messages in work at once, each settled for itself."""

    def __init__(
        self, settings: Settings, name: str, queue: str, publisher: Publisher, *, lanes: int, replaceable: bool
    ) -> None:
        # Some messages wait here while others are in work: a quorum queue delivers the next one only when an
        # acknowledgement is on its disk, and no lane should idle for that.
        super().__init__(settings, name, queue, publisher, prefetch=lanes + 2, replaceable=replaceable)
        self._settings = settings
        self._lanes = asyncio.Semaphore(lanes)

    @abstractmethod
    async def handle(self, session: Session, message: AbstractIncomingMessage) -> Outcome:
        """How the message is to be settled; ``session`` is the one that brought it."""

    def _receiver(self, session: Session) -> Receive:
        return partial(self._receive, session)

    async def _receive(self, session: Session, message: AbstractIncomingMessage) -> None:
        self._begin(self._process(session, message))

    async def _process(self, session: Session, message: AbstractIncomingMessage) -> None:
        message_id = message.message_id
        with continued(message.headers.get(HEADER)), bound_contextvars(command=self.name, message_id=message_id):
            with receiving(self.queue, message_id):
                await self._lanes.acquire()
            try:
                with self._settled_or_redelivered(session), processing(self.queue, message_id) as span:
                    await self._answer(session, message, span)
            finally:
                self._lanes.release()

    async def _answer(self, session: Session, message: AbstractIncomingMessage, span: Span) -> None:
        if session.broken.is_set():
            return  # waited here while its connection broke, and was delivered again elsewhere
        outcome = Requeue("stopping") if self._stopping.is_set() else await self.handle(session, message)
        if isinstance(outcome, DeadLetter):
            span.set_status(StatusCode.ERROR, outcome.reason)
            [outcome] = await self._publish_dead_letters(session, [Refused(message, outcome.reason)])
        async with asyncio.timeout(SETTLE_TIMEOUT):
            with broker_errors():
                match outcome:
                    case Done():
                        await message.ack()
                    case Requeue():
                        await message.nack(requeue=True)
                    case DeadLetter():
                        await message.nack(requeue=False)

    async def hold(self, session: Session, step: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Repeats the step while the database or the broker is away: requeueing the message would only spin."""
        retries = pauses()
        while True:
            try:
                return await step()
            except Exception as error:
                outcome = outcome_of(error)
                held = isinstance(outcome, Requeue)
                metrics.CONSUMER_ERRORS.labels(self.name, "held" if held else "given_up").inc()
                if not isinstance(outcome, Requeue):
                    log.exception("command_failed")
                    return outcome
            pause = next(retries)
            log.warning("command_held", reason=outcome.reason, retry_in=pause)
            if await self._interrupted_within(session, pause):
                return outcome


class Consumer(MessageConsumer, Generic[CommandT]):
    """Consumes the queue of one kind of command. It may be deleted and lost: the database knows what is to be done.

    ``redelivered`` is asked first about a command that was delivered before and not settled; None: let it be tried.
    ``survived`` is called for such a one that something outside keeps from its end: it does not kill its worker.
    """

    def __init__(
        self,
        settings: Settings,
        kind: type[CommandT],
        handler: Callable[[CommandT], Awaitable[Outcome]],
        publisher: Publisher,
        *,
        lanes: int = 1,
        redelivered: Callable[[CommandT], Awaitable[Outcome | None]] | None = None,
        survived: Callable[[CommandT], Awaitable[None]] | None = None,
    ) -> None:
        name: str = kind.model_fields["name"].default
        queue = Topology(settings.amqp_prefix).command_queue(name)
        super().__init__(settings, name, queue, publisher, lanes=lanes, replaceable=True)
        self._kind = kind
        self._handler = handler
        self._redelivered = redelivered
        self._survived = survived

    async def handle(self, session: Session, message: AbstractIncomingMessage) -> Outcome:
        """Decodes the command and has it carried out."""
        try:
            command = parse_command(message.body)
        except ValidationError as error:
            return DeadLetter(f"not a command of ours: {worded(error)}")
        if not isinstance(command, self._kind):
            return DeadLetter(f"{command.name} among commands to {self.name}")
        with bound_contextvars(**command.model_dump(exclude={"name", "version"})):
            return await self.hold(session, self._step(command, redelivered=bool(message.redelivered)))

    def _step(self, command: CommandT, *, redelivered: bool) -> Callable[[], Awaitable[Outcome]]:
        """What is repeated until there is an outcome. A redelivery is noted once, and forgiven once.

        A worker that begins, or comes back to its broker, may have a command before the connection by which it
        publishes. The command waits for that: what is to follow it would be given its turn and wait for a sweep.
        """
        to_note = self._redelivered if redelivered else None
        to_forgive = self._survived if redelivered else None

        async def step() -> Outcome:
            nonlocal to_note, to_forgive
            if not self._publisher.connected:
                raise BrokerUnavailable("not connected")
            if to_note is not None:
                outcome = await to_note(command)
                to_note = None
                if outcome is not None:
                    return outcome
            try:
                return await self._handler(command)
            except Exception as error:
                if to_forgive is not None and is_outside(error):
                    await to_forgive(command)
                    to_forgive = None
                raise

        return step
