"""Following the institution live: directory events as they arrive, written in sets (CONTRACT 5)."""

from collections.abc import Sequence
from time import perf_counter

import asyncpg
import structlog

from service.application.directory.events import follow
from service.contracts.directory import DirectoryEvent, ForeignEvent, MalformedEvent, parse_event
from service.contracts.topology import Topology
from service.runtime import metrics
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from workers.batch_consumer import BatchConsumer

log = structlog.get_logger(__name__)

# Events per transaction, twice that per worker in memory: enough to make a statement cheap, few enough to hold no lock
# for long. Half as many or twice as many are as fast (tests/bench/directory.py): sets are seldom full, because a worker
# writes events about as fast as the broker hands them out.
SET_SIZE = 500


class DirectoryConsumer(BatchConsumer):
    """Consumes the queue of directory events. Any number of them, in any number of processes, may share it."""

    def __init__(
        self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher, *, set_size: int = SET_SIZE
    ) -> None:
        queue = Topology(settings.amqp_prefix).directory
        super().__init__(settings, "directory", queue, self.handle, publisher, set_size=set_size)
        self._pool = pool

    async def handle(self, bodies: Sequence[bytes]) -> dict[int, str]:
        """Commits the events of a set; returns why some were not, by position.

        Raises what says nothing about the events: the database away, or busy with the same rows.
        """
        started = perf_counter()
        reasons: dict[int, str] = {}
        events: dict[int, DirectoryEvent] = {}
        for position, body in enumerate(bodies):
            try:
                event = parse_event(body)
            except MalformedEvent as error:
                reasons[position] = str(error)
            else:
                if not isinstance(event, ForeignEvent):
                    events[position] = event
        ignored = len(bodies) - len(reasons) - len(events)
        rows = 0
        if events:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                followed = await follow(conn, list(events.values()))
            rows = followed.written.total()
            positions = list(events)
            reasons |= {positions[place]: reason for place, reason in followed.refused.items()}
        seconds = perf_counter() - started
        count(followed=len(bodies) - len(reasons) - ignored, ignored=ignored, refused=len(reasons))
        metrics.DIRECTORY_SET_SECONDS.observe(seconds)
        log.info(
            "directory_followed",
            events=len(bodies),
            rows=rows,
            ignored=ignored,
            refused=len(reasons),
            seconds=round(seconds, 4),
        )
        return reasons


def count(**outcomes: int) -> None:
    """Adds to the metric."""
    for outcome, events in outcomes.items():
        metrics.DIRECTORY_EVENTS.labels(outcome).inc(events)
