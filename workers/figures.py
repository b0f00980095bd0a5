"""What operators want to know of work that waits and of work that has ended (service/runtime/metrics.py)."""

import asyncpg

from service.domain.punctuality import IN_TIME, share_in_time
from service.runtime import metrics
from service.runtime.backlog import show_backlog
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import punctuality
from sql.connection import Connection
from workers.sweeper import Sweeper

LIMIT = 100  # batches that are measured in one transaction


class Figures(Sweeper):
    """Looks every ``sweep_interval``. Each batch is measured by one process; the rest each of them reads for itself."""

    needs_broker = False

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._pool = pool

    async def sweep(self) -> int:
        """Returns how many batches were measured."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            measured = await _measure(conn)
            await show_backlog(conn)
            await _show_days(conn)
        return measured


async def _measure(conn: Connection) -> int:
    """Until none is left that has ended."""
    measured = 0
    while found := await punctuality.measure_ended(conn, in_time=IN_TIME, limit=LIMIT):
        for batch in found:
            if batch.duration is not None:
                metrics.BATCH_SECONDS.labels(batch.state).observe(batch.duration)
            if batch.to_last_inbox is not None and not batch.moved:
                metrics.LAST_INBOX_SECONDS.observe(batch.to_last_inbox)
        measured += len(found)
    return measured


async def _show_days(conn: Connection) -> None:
    days = {day.today: day for day in await punctuality.punctual_days(conn)}
    for name, today in (("today", True), ("yesterday", False)):
        day = days.get(today)
        metrics.DAY_RECIPIENTS.labels(name).set(day.recipients if day else 0)
        metrics.DAY_IN_TIME.labels(name).set(share_in_time(day.in_time, day.recipients) if day else 1)
