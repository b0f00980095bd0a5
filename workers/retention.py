"""Removes what is older than it is to be kept (CONTRACT 2, CLARION_RETENTION_DAYS). Messages are never removed."""

from datetime import timedelta
from time import monotonic

import asyncpg
import structlog

from service.runtime import metrics
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import retention
from workers.sweeper import Sweeper

log = structlog.get_logger(__name__)

# Rows of one statement, each of which is committed by itself: some megabytes, for a chunk has up to 2000 recipients.
BITE = 500
REST = 3  # times as long as a sweep took: whatever else there is to do goes first
LONGEST = 60.0  # seconds between two sweeps where there was nothing to remove


class RetentionSweeper(Sweeper):
    """A bite of each kind a sweep. Any number share the work, in any number of processes."""

    needs_broker = False

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._pool = pool
        self._kept_for = timedelta(days=settings.retention_days)

    async def sweep(self) -> int:
        """Removes a bite of each kind, and sets the pause behind it; returns how many rows that was."""
        started = monotonic()
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            begun = await retention.begin_forgetting(conn, older_than=self._kept_for, limit=BITE)
            rows = await retention.forget_recipients(conn, limit=BITE)
            batches = await retention.finish_forgetting(conn, limit=BITE)
            progresses = await retention.forget_progresses(conn, older_than=self._kept_for, limit=BITE)
        metrics.FORGOTTEN.labels("batches").inc(batches)
        metrics.FORGOTTEN.labels("progresses").inc(progresses)
        if batches or progresses:
            log.info("forgotten", batches=batches, progresses=progresses)
        removed = begun + rows + batches + progresses
        self._interval = REST * (monotonic() - started) if removed else LONGEST
        return 0
