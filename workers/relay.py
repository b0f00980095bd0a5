"""The relay: publishes what the outbox holds, lane by lane, and deletes what the broker has confirmed."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain

import asyncpg
import structlog

from service.contracts.topology import Topology
from service.domain.outbox import BatchEventRow, MessagesRow, events_of
from service.runtime import metrics
from service.runtime.broker import BrokerUnavailable
from service.runtime.event_publisher import EventPublisher, Published
from service.runtime.messaging_spans import publishing_set
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from service.runtime.settings import Settings
from sql import outbox
from workers.backoff import LAST_RETRY, one_of

log = structlog.get_logger(__name__)

COPIES = 2000  # messages of one transaction, to within a row, which has as many at most: memory is bounded by that
ROWS = 500  # rows of one transaction
DRAIN = 15.0  # seconds that a transaction in work has to finish when the process stops


class Relay:
    """Publishes every event at least once, those of a conversation in order; several share the lanes.

    The transaction that takes rows out of the outbox commits when all their events are confirmed. Killed before,
    it is rolled back, and another relay publishes them, perhaps again, under the same message ids.
    """

    def __init__(self, settings: Settings, pool: asyncpg.Pool) -> None:
        self._patience = timedelta(seconds=settings.relay_patience)
        self._interval = settings.relay_interval
        self._pool = pool
        self._exchange = Topology(settings.amqp_prefix).events
        self.publisher = EventPublisher(settings, "clarion-relay")
        self._stopping = asyncio.Event()
        self._resting = asyncio.Event()  # run() has not begun, or has ended
        self._resting.set()

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance."""
        return self.publisher.connected

    async def start(self) -> None:
        """Begins connecting, in the background."""
        await self.publisher.broker.start()

    async def run(self) -> None:
        """Relays until stopped.

        An error of the database or the broker is logged, and it tries again. Any other error is raised.
        """
        pause = self._interval
        self._resting.clear()
        try:
            while not self._stopping.is_set():
                try:
                    relayed = await self.relay() if self.connected else 0
                except (asyncpg.PostgresError, *UNAVAILABLE, BrokerUnavailable) as error:
                    pause = min(pause * 2, LAST_RETRY)
                    log.warning("relay_failed", error=str(error) or type(error).__name__, retry_in=pause)
                    relayed = 0
                else:
                    pause = self._interval
                if not relayed:
                    await one_of(self._stopping, within=pause)
        finally:
            self._resting.set()

    async def relay(self) -> int:
        """Publishes the oldest rows of one lane; how many events that were, 0 when there is nothing to do now."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            rows = await outbox.take_events(conn, patience=self._patience, copies=COPIES, rows=ROWS)
            if not rows:
                return 0
            published, unroutable = await self._publish(rows)
            if unroutable:
                await outbox.count_unroutable(conn, unroutable)
        for name, count in published.items():
            metrics.EVENTS_PUBLISHED.labels(name).inc(count)
        for name, count in unroutable.items():
            metrics.EVENTS_UNROUTABLE.labels(name).inc(count)
        log.info("events_relayed", rows=len(rows), events=published.total(), unroutable=unroutable.total())
        return published.total()

    async def _publish(self, rows: Sequence[MessagesRow | BatchEventRow]) -> Published:
        with publishing_set(self._exchange, len(rows), (row.cause.traceparent for row in rows)):
            return await self.publisher.publish(chain.from_iterable(map(events_of, rows)))

    def stop(self) -> None:
        """Ends run() after the transaction in work."""
        self._stopping.set()

    async def drain(self) -> None:
        """Stops, lets the transaction in work finish, disconnects."""
        self.stop()
        await one_of(self._resting, within=DRAIN)
        await self.publisher.broker.stop()
