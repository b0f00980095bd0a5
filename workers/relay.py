"""The relay: publishes what the outbox holds, lane by lane, and deletes what the broker has confirmed."""

import asyncio
from datetime import timedelta
from time import monotonic

import asyncpg
import structlog

from service.contracts.topology import Topology
from service.runtime import metrics
from service.runtime.backlog import show_outbox_lag
from service.runtime.broker import BrokerUnavailable
from service.runtime.event_publisher import EventPublisher, Published, Unconfirmed
from service.runtime.messaging_spans import publishing_set
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from service.runtime.settings import Settings
from sql import outbox
from workers.backoff import LAST_RETRY, one_of
from workers.lanes import LaneRests
from workers.turns import limits_of

log = structlog.get_logger(__name__)

COPIES = 2000  # messages of one transaction, to within a row, which has as many at most: memory is bounded by that
ROWS = 500  # rows of one transaction
LAG_INTERVAL = 5.0  # seconds between two looks at the age of the oldest event
DRAIN = 15.0  # seconds that a transaction in work has to finish when the process stops

# A confirm comes when every queue has a message that was routed to several, and never says which one is late.
ADVICE = (
    "the broker does not say which queue holds this up. It is one that is bound to {exchange} and takes these events:"
    " rabbitmqctl list_bindings source_name destination_name routing_key, then rabbitmqctl list_queues name state"
    " messages policy, and look for one that is not running, is full, or is recovering with many messages; to go on"
    " without it, unbind or delete it"
)


class Relay:
    """Publishes every event at least once, those of a conversation in order; several share the lanes.

    The transaction that takes rows out of the outbox commits when all their events are confirmed. Killed before,
    it is rolled back, and another relay publishes them, perhaps again, under the same message ids.
    """

    def __init__(self, settings: Settings, pool: asyncpg.Pool) -> None:
        # What goes at a pace leaves the processors free, and may go on for hours.
        self._patience = timedelta(seconds=0 if limits_of(settings).paced else settings.relay_patience)
        self._interval = settings.relay_interval
        self._pool = pool
        self._exchange = Topology(settings.amqp_prefix).events
        self.publisher = EventPublisher(settings, "clarion-relay")
        self._rests = LaneRests()
        self._measured_at = -LAG_INTERVAL
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
                    await self._measure_lag()
                    relayed = await self.relay() if self.connected else 0
                except Unconfirmed:
                    relayed = 0  # the lane rests; others may have something
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
        """Publishes the oldest rows of one lane; how many events that were, 0 when there is nothing to do now.

        Raises Unconfirmed when the broker did not take them all; the lane then rests.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            taken = await outbox.take_events(
                conn,
                patience=self._patience,
                copies=COPIES,
                rows=ROWS,
                resting=self._rests.resting,
                doubtful=self._rests.doubtful,
            )
            if taken is None:
                return 0
            rows = taken.rows
            published, unroutable = await self._publish(taken)
            if unroutable:
                await outbox.count_unroutable(conn, unroutable)
        self._rests.confirmed(taken.lane)
        for name, count in published.items():
            metrics.EVENTS_PUBLISHED.labels(name).inc(count)
        for name, count in unroutable.items():
            metrics.EVENTS_UNROUTABLE.labels(name).inc(count)
        log.info("events_relayed", rows=len(rows), events=published.total(), unroutable=unroutable.total())
        return published.total()

    async def _publish(self, taken: outbox.Taken) -> Published:
        rows = taken.rows
        with publishing_set(self._exchange, len(rows), (row.cause.traceparent for row in rows)):
            try:
                return await self.publisher.publish(rows)
            except Unconfirmed as error:
                for name, count in error.events.items():
                    metrics.EVENTS_UNCONFIRMED.labels(name).inc(count)
                log.warning(
                    "events_not_confirmed",
                    lane=taken.lane,
                    events=dict(error.events),
                    error=str(error),
                    retry_in=self._rests.unconfirmed(taken.lane),
                    advice=ADVICE.format(exchange=self._exchange),
                )
                raise

    async def _measure_lag(self) -> None:
        """Also while the broker is away, which is when it grows."""
        if monotonic() - self._measured_at < LAG_INTERVAL:
            return
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            await show_outbox_lag(conn)
        self._measured_at = monotonic()

    def stop(self) -> None:
        """Ends run() after the transaction in work."""
        self._stopping.set()

    async def drain(self) -> None:
        """Stops, lets the transaction in work finish, disconnects."""
        self.stop()
        await one_of(self._resting, within=DRAIN)
        await self.publisher.broker.stop()
