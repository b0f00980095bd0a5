"""The auditor: compares batches that have ended with the inboxes, and mends what differs; looks for what is stuck."""

from time import monotonic

import asyncpg
import structlog

from service.application.messages.audit import SHOWN, AuditFailed, Turn, audit_next, put_off
from service.application.messages.tag_sets import TagSets
from service.domain.event_metadata import Cause
from service.runtime import event_metadata, metrics
from service.runtime.backlog import show_stuck
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import audits
from sql.connection import Connection
from workers.sweeper import Sweeper

log = structlog.get_logger(__name__)

REST = 3  # times as long as a turn took: deliveries go first
LOOK_INTERVAL = 15.0  # seconds between two looks for what is stuck


class Auditor(Sweeper):
    """One turn a sweep, a few chunks of one batch. Any number share the batches, in any number of processes."""

    needs_broker = False

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._longest = settings.sweep_interval
        self._settings = settings
        self._pool = pool
        self._tag_sets = TagSets()
        self._looked_at = -LOOK_INTERVAL

    async def sweep(self) -> int:
        """The next turn, and sets the pause behind it; returns how many turns that was."""
        started = monotonic()
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            turn = await self._next(conn)
            metrics.AUDIT_LAG.set(await audits.audit_lag(conn))
            await self._look_for_stuck(conn)
        if turn is not None:
            self._report(turn)
        self._interval = self._longest if turn is None else min(self._longest, REST * (monotonic() - started))
        return 0 if turn is None else 1

    async def _look_for_stuck(self, conn: Connection) -> None:
        if monotonic() - self._looked_at < LOOK_INTERVAL:
            return
        await show_stuck(conn, retry_after=self._settings.retry_after)
        self._looked_at = monotonic()

    async def _next(self, conn: Connection) -> Turn | None:
        try:
            return await audit_next(conn, self._tag_sets, self._cause)
        except AuditFailed as failed:
            reason = failed.__cause__
            if isinstance(reason, UNAVAILABLE):
                raise reason from None
            text = f"{type(reason).__name__}: {reason}"
            log.warning("audit_failed", batch_id=failed.batch_id, error=text)
            await put_off(conn, failed.batch_id, text)
            return Turn(failed.batch_id)

    def _cause(self, batch_id: int) -> Cause | None:
        return event_metadata.job(self._settings, message_id=f"audit.{batch_id}", name="audit")

    def _report(self, turn: Turn) -> None:
        metrics.AUDIT_RECIPIENTS.inc(turn.recipients)
        if turn.missing:
            metrics.AUDIT_DIFFERENCES.labels("missing").inc(len(turn.missing))
            log.error(
                "audit_repaired",
                batch_id=turn.batch_id,
                recipients=len(turn.missing),
                user_ids=[copy.user_id for copy in turn.missing[:SHOWN]],
            )
        if (found := turn.counters) is not None:
            mended = found.listed == found.total
            metrics.AUDIT_DIFFERENCES.labels("counters" if mended else "unlisted").inc()
            log.error("audit_counters" if mended else "audit_unlisted", batch_id=turn.batch_id, **found._asdict())
        if turn.audited is not None:
            metrics.AUDIT_BATCHES.inc()
            recipients, missing = turn.audited
            log.info("batch_audited", batch_id=turn.batch_id, recipients=recipients, repaired=missing)
