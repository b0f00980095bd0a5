"""What all consumers of a queue share: they start, hold what cannot be handled yet, drain and stop."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog

from service.runtime import metrics
from service.runtime.broker import BrokerUnavailable, Session
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from workers.backoff import one_of
from workers.dead_letter import Refused, publish_dead_letters
from workers.outcome import Outcome
from workers.subscription import Receive, Subscription

log = structlog.get_logger(__name__)

SETTLE_TIMEOUT = 10.0  # seconds to send an acknowledgement
DRAIN = 15.0  # seconds that messages in work have to finish when the process stops


class QueueConsumer(ABC):
    """Consumes one queue until it is drained; subclasses acknowledge a message at a time or many."""

    def __init__(
        self, settings: Settings, name: str, queue: str, publisher: Publisher, *, prefetch: int, replaceable: bool
    ) -> None:
        self.name = name
        self.queue = queue
        self._publisher = publisher
        metrics.begin_consumer(name, queue)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._subscription = Subscription(
            settings, name, queue, self._receiver, prefetch=prefetch, replaceable=replaceable
        )
        self.broker = self._subscription.broker

    @abstractmethod
    def _receiver(self, session: Session) -> Receive:
        """What takes the messages that the session brings."""

    async def start(self) -> None:
        """Connects and consumes, in the background."""
        await self.broker.start()

    async def drain(self) -> None:
        """Takes no new message, finishes those in work, disconnects. What was only waiting returns to the queue."""
        self._stopping.set()
        await self._subscription.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                while self._tasks:  # what is in work may begin more of it
                    await asyncio.wait(self._tasks)
        for task in self._tasks:
            log.warning("work_abandoned", queue=self.name)
            task.cancel()
        await self.broker.stop()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        """Runs the work in a task of its own, which ``drain`` waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _interrupted(self, session: Session) -> bool:
        return self._stopping.is_set() or session.broken.is_set()

    async def _interrupted_within(self, session: Session, seconds: float) -> bool:
        """Whether, in so many seconds, the process stops or the broker takes the session's messages back."""
        return await one_of(self._stopping, session.broken, within=seconds)

    async def _publish_dead_letters(self, session: Session, refused: Sequence[Refused]) -> list[Outcome]:
        ends = (self._stopping, session.broken)
        return await publish_dead_letters(self._publisher, refused, source=self.queue, ends=ends)

    @contextmanager
    def _settled_or_redelivered(self, session: Session) -> Iterator[None]:
        """Ends the session when the block could not settle its messages, so that the broker delivers them again.

        Unsettled they would hold their places in the prefetch for ever. Handled twice they change nothing.
        """
        try:
            yield
        except (BrokerUnavailable, TimeoutError) as error:
            session.end("messages could not be settled")
            log.warning("settle_failed", error=str(error) or type(error).__name__)
        except Exception:
            session.end("messages were not settled")
            log.exception("messages_unsettled")
