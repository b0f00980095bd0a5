"""The life of messages that are handled in batches: receive, gather, handle, settle with one acknowledgement."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
from aio_pika.abc import AbstractIncomingMessage
from structlog.contextvars import bound_contextvars

from service.runtime import metrics
from service.runtime.broker import Session, broker_errors
from service.runtime.messaging_spans import processing_set
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import HEADER, continued
from workers.backoff import pauses
from workers.dead_letter import Refused
from workers.outcome import DeadLetter, Done, Requeue, outcome_of
from workers.queue_consumer import SETTLE_TIMEOUT, QueueConsumer
from workers.subscription import Receive

log = structlog.get_logger(__name__)

# Given the bodies of a set in their order, commits all that will do and returns the reasons of the others by position.
# Raises what keeps it from deciding; the same set then comes again, also where it was committed after all.
SetHandler = Callable[[Sequence[bytes]], Awaitable[Mapping[int, str]]]


@dataclass
class _Arrivals:
    """What one session has brought: first it waits for its work, then, where it is refused, to be a dead letter.

    ``unburied``: how many refused messages are not settled yet. While there are any, others are acknowledged one by
    one: an acknowledgement of many would cover them, and they would be lost with this process.
    """

    waiting: deque[AbstractIncomingMessage] = field(default_factory=deque)
    in_work: bool = False
    refused: deque[Refused] = field(default_factory=deque)
    burying: bool = False
    unburied: int = 0


class BatchConsumer(QueueConsumer):
    """Consumes one queue, a set at a time: whatever came while the set before was in work, ``set_size`` at most.

    So a lone message does not wait for others, and sets grow as messages come faster than they are written. Those that
    are refused become dead letters in sets of their own, made in the same way, while the next sets are handled; the
    prefetch bounds how many are on their way at once.
    """

    def __init__(
        self, settings: Settings, name: str, queue: str, handler: SetHandler, publisher: Publisher, *, set_size: int
    ) -> None:
        # The next set arrives while one is written.
        super().__init__(settings, name, queue, publisher, prefetch=2 * set_size, replaceable=False)
        self._handler = handler
        self._set_size = set_size

    def _receiver(self, session: Session) -> Receive:
        return partial(self._receive, session, _Arrivals())

    async def _receive(self, session: Session, arrivals: _Arrivals, message: AbstractIncomingMessage) -> None:
        arrivals.waiting.append(message)
        if not arrivals.in_work:
            arrivals.in_work = True
            self._begin(self._work(session, arrivals))

    async def _work(self, session: Session, arrivals: _Arrivals) -> None:
        """Set after set until nothing waits. One at a time, so that an acknowledgement covers no set in work."""
        try:
            with bound_contextvars(queue=self.name), self._settled_or_redelivered(session):
                while arrivals.waiting and not self._interrupted(session):
                    size = min(len(arrivals.waiting), self._set_size)
                    taken = [arrivals.waiting.popleft() for _ in range(size)]
                    with processing_set(self.queue, size, (m.headers.get(HEADER) for m in taken)):
                        await self._answer(session, arrivals, taken)
        finally:
            arrivals.in_work = False

    async def _answer(self, session: Session, arrivals: _Arrivals, taken: Sequence[AbstractIncomingMessage]) -> None:
        """Handles a set and settles it, or leaves it to the end of its session, after which it is delivered again.

        What is committed is acknowledged first; what is refused only when it is among the dead letters. So a crash
        between them repeats events, which changes nothing, or doubles dead letters, and loses neither.
        """
        reasons = await self._handle(session, [message.body for message in taken])
        if reasons is None:
            return
        refused = [Refused(taken[place], reason) for place, reason in sorted(reasons.items())]
        arrivals.unburied += len(refused)
        await _acknowledge(
            [message for place, message in enumerate(taken) if place not in reasons], alone=arrivals.unburied > 0
        )
        arrivals.refused.extend(refused)
        if arrivals.refused and not arrivals.burying:
            arrivals.burying = True
            self._begin(self._bury(session, arrivals))

    async def _bury(self, session: Session, arrivals: _Arrivals) -> None:
        """Set after set until none is refused and not settled; in order, so that one acknowledgement covers a set."""
        try:
            # Begun in the trace of one set, it goes on with others.
            with continued(None), bound_contextvars(queue=self.name), self._settled_or_redelivered(session):
                while arrivals.refused and not session.broken.is_set():
                    taken = list(arrivals.refused)
                    arrivals.refused.clear()
                    if not await self._settle_refused(session, arrivals, taken):
                        return
        finally:
            arrivals.burying = False

    async def _settle_refused(self, session: Session, arrivals: _Arrivals, taken: Sequence[Refused]) -> bool:
        """Publishes dead letters, all on their way at once, and settles what they were made of.

        False when it was interrupted: what is not settled is then left to the end of its session.
        """
        outcomes = await self._publish_dead_letters(session, taken)
        buried = [each.message for each, it in zip(taken, outcomes, strict=True) if isinstance(it, Done)]
        left = [each.message for each, it in zip(taken, outcomes, strict=True) if isinstance(it, DeadLetter)]
        interrupted = len(buried) + len(left) < len(taken)
        async with asyncio.timeout(SETTLE_TIMEOUT):
            with broker_errors():
                for message in left:
                    await message.nack(requeue=False)
        # All that came before them is settled, but for what an interrupted set before this one has left.
        left_before = arrivals.unburied - len(taken) - len(arrivals.refused) > 0
        await _acknowledge(buried, alone=interrupted or left_before)
        arrivals.unburied -= len(buried) + len(left)
        return not interrupted

    async def _handle(self, session: Session, bodies: Sequence[bytes]) -> Mapping[int, str] | None:
        """Holds the set while the database is away: requeueing it would only spin. None when interrupted.

        A handler does not raise because of one message, so none is dead-lettered: the set is tried until it succeeds.
        """
        retries = pauses()
        while True:
            pause = next(retries)
            try:
                return await self._handler(bodies)
            except Exception as error:
                reason = str(error) or type(error).__name__
                ours = not isinstance(outcome_of(error), Requeue)
                metrics.CONSUMER_ERRORS.labels(self.name, "held").inc()
                log.warning("set_held", reason=reason, messages=len(bodies), retry_in=pause, exc_info=ours)
            if await self._interrupted_within(session, pause):
                return None


async def _acknowledge(messages: Sequence[AbstractIncomingMessage], *, alone: bool) -> None:
    """One acknowledgement for all that the session has brought so far, or one for each."""
    async with asyncio.timeout(SETTLE_TIMEOUT):
        with broker_errors():
            for message in messages if alone else messages[-1:]:
                await message.ack(multiple=not alone)
