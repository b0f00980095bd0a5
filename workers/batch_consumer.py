"""The life of messages that are handled in sets: receive, gather, handle, settle with one acknowledgement."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
from aio_pika.abc import AbstractIncomingMessage
from structlog.contextvars import bound_contextvars

from service.runtime.broker import BrokerUnavailable, Session, broker_errors
from service.runtime.messaging_spans import processing_set
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import HEADER, continued
from workers.backoff import FIRST_RETRY, LAST_RETRY, one_of
from workers.consumer import DRAIN, SETTLE_TIMEOUT
from workers.dead_letter import bury
from workers.outcome import Again, Discard, Verdict, judge
from workers.subscription import Subscription

log = structlog.get_logger(__name__)

# Given the bodies of a set in their order, commits all that will do and returns the reasons of the others by position.
# Raises what keeps it from judging; the same set then comes again, also where it was committed after all.
SetHandler = Callable[[Sequence[bytes]], Awaitable[Mapping[int, str]]]


@dataclass
class _Arrivals:
    """What one session has brought and nobody has taken into work."""

    waiting: deque[AbstractIncomingMessage] = field(default_factory=deque)
    in_work: bool = False


class Gatherer:
    """Consumes one queue, a set at a time: whatever came while the set before was in work, ``set_size`` at most.

    So a lone message waits for nobody, and sets grow as messages come faster than they are written.
    """

    def __init__(
        self, settings: Settings, name: str, queue: str, handler: SetHandler, publisher: Publisher, *, set_size: int
    ) -> None:
        self.name = name
        self._handler = handler
        self._publisher = publisher
        self._set_size = set_size
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._subscription = Subscription(
            settings,
            name,
            queue,
            lambda session: partial(self._receive, session, _Arrivals()),
            prefetch=2 * set_size,  # the next set arrives while one is written
            replaceable=False,
        )
        self.broker = self._subscription.broker

    async def start(self) -> None:
        """Connects and consumes, in the background."""
        await self.broker.start()

    async def drain(self) -> None:
        """Takes no new message, finishes the set in work, disconnects. What was only waiting returns to the queue."""
        self._stopping.set()
        await self._subscription.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN)
            for task in late:
                log.warning("set_abandoned", queue=self.name)
                task.cancel()
        await self.broker.stop()

    async def _receive(self, session: Session, arrivals: _Arrivals, message: AbstractIncomingMessage) -> None:
        arrivals.waiting.append(message)
        if not arrivals.in_work:
            arrivals.in_work = True
            task = asyncio.create_task(self._work(session, arrivals))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, session: Session, arrivals: _Arrivals) -> None:
        """Set after set until nothing waits. One at a time, so that an acknowledgement covers nothing unfinished."""
        with bound_contextvars(queue=self.name):
            try:
                while arrivals.waiting and not self._interrupted(session):
                    size = min(len(arrivals.waiting), self._set_size)
                    taken = [arrivals.waiting.popleft() for _ in range(size)]
                    with processing_set(self._subscription.queue, size, (m.headers.get(HEADER) for m in taken)):
                        await self._answer(session, taken)
            except (BrokerUnavailable, TimeoutError) as error:
                # The broker hands the set out again; handled twice it changes nothing.
                session.end("a set could not be settled")
                log.warning("settle_failed", error=str(error) or type(error).__name__)
            except Exception:
                # Unsettled it would hold its place in the prefetch for ever; with its session it is handed back.
                session.end("a set was not settled")
                log.exception("set_unsettled")
            finally:
                arrivals.in_work = False

    def _interrupted(self, session: Session) -> bool:
        return self._stopping.is_set() or session.broken.is_set()

    async def _answer(self, session: Session, taken: Sequence[AbstractIncomingMessage]) -> None:
        """Handles a set and settles it, or leaves it to the end of its session, which hands it back."""
        reasons = await self._handle(session, [message.body for message in taken])
        if reasons is None:
            return
        burials = [self._bury(session, taken[position], reason) for position, reason in sorted(reasons.items())]
        verdicts = dict(zip(sorted(reasons), await asyncio.gather(*burials), strict=True))
        if any(isinstance(verdict, Again) for verdict in verdicts.values()):
            return
        left_to_broker = {position for position, verdict in verdicts.items() if isinstance(verdict, Discard)}
        async with asyncio.timeout(SETTLE_TIMEOUT):
            with broker_errors():
                await _settle(taken, left_to_broker)

    async def _handle(self, session: Session, bodies: Sequence[bytes]) -> Mapping[int, str] | None:
        """Holds the set while the database is away: handing it back would only spin. None when interrupted.

        A handler raises for no message's sake, so there is none to put away: whatever it is, it is waited for.
        """
        pause = FIRST_RETRY
        while True:
            try:
                return await self._handler(bodies)
            except Exception as error:
                reason = str(error) or type(error).__name__
                ours = not isinstance(judge(error), Again)
                log.warning("set_held", reason=reason, messages=len(bodies), retry_in=pause, exc_info=ours)
            if await one_of(self._stopping, session.broken, within=pause):
                return None
            pause = min(pause * 2, LAST_RETRY)

    async def _bury(self, session: Session, message: AbstractIncomingMessage, reason: str) -> Verdict:
        source, ends = self._subscription.queue, (self._stopping, session.broken)
        with bound_contextvars(message_id=message.message_id), continued(message.headers.get(HEADER)):
            return await bury(self._publisher, message, reason, source=source, ends=ends)


async def _settle(taken: Sequence[AbstractIncomingMessage], left_to_broker: set[int]) -> None:
    """One acknowledgement for all, after those that the broker is to put away."""
    acknowledged = [message for position, message in enumerate(taken) if position not in left_to_broker]
    for position in left_to_broker:
        await taken[position].nack(requeue=False)
    if acknowledged:
        await acknowledged[-1].ack(multiple=True)
