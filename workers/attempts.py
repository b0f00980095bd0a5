"""The one policy of attempts, for chunks, replies and batch updates: when work is tried again, and when it is given up.

Work for many at once is cut in two when it fails, so that only what cannot be cut uses up attempts.

A failure counts only after the wait that follows the one before, so that a command that comes twice does not use up
the attempts; each wait is twice the one before (attempt_counts, next_attempt_at in SQL). What fails MAX_ATTEMPTS times,
or comes back unsettled more than MAX_REDELIVERIES times since it may have killed its workers, is given up. Neither
counts where the fault lies outside the work (workers.outcome.is_outside), or where others were in its way for long.
What other work was in the way of is tried as often before it is cut.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import asyncpg
import structlog

from service.contracts.wording import error_text
from service.runtime import metrics
from service.runtime.postgres import ACQUIRE_TIMEOUT, CONFLICT
from sql.attempts import Redelivery
from sql.connection import Connection
from workers.outcome import DeadLetter, Done, Outcome, is_outside

log = structlog.get_logger(__name__)

CONFLICT_RETRIES = 20  # attempts at once when other transactions write the same rows; each of theirs ends a conflict
MAX_ATTEMPTS = 5  # failures of the work itself before it is given up
MAX_REDELIVERIES = 10  # of one row's commands that came back unsettled, before it is given up
TOO_MANY_REDELIVERIES = f"handed out {MAX_REDELIVERIES} times without a verdict: its workers may have died of it"
SUSPECT_REDELIVERIES = MAX_REDELIVERIES - 2  # that a part begins with whose whole killed its workers

# Another transaction held a lock for longer than a worker waits (lock_timeout): its worker may be frozen.
BLOCKED = asyncpg.LockNotAvailableError
BLOCKED_WAIT = timedelta(seconds=5)  # until the work is commanded again

Result = TypeVar("Result")


class Contended(Exception):
    """Other transactions wrote the same rows each time that a step was tried."""


class AttemptedRow(Protocol):
    """A row that says what is to be done, and what became of the attempts at it."""

    async def postpone(self, conn: Connection, *, error: str, first_wait: timedelta) -> int | None:
        """Notes a failed attempt; returns how many there were, None when it does not count (any more)."""

    async def count_redelivery(self, conn: Connection) -> Redelivery | None:
        """Notes that the command came back unsettled; None when there is no such row (any more)."""

    async def forgive_redelivery(self, conn: Connection) -> None:
        """Takes that note back: the attempt ended, and not by killing its worker."""

    async def defer(self, conn: Connection, *, wait: timedelta) -> None:
        """Has it commanded again after the wait, as an attempt that does not count; not while others have it locked."""

    async def split(self, conn: Connection, *, error: str, redeliveries: int = 0) -> bool:
        """Cuts it into parts that are to be tried at once; False where it cannot be cut, as most work cannot.

        ``redeliveries``: as many as its parts are taken to have had, as long as they can be cut further.
        """
        return False

    async def fail(self, conn: Connection, *, error: str) -> None:
        """Gives it up."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Counts attempts in their rows; ``first_wait`` after the first failure. ``consumer``: whose they are."""

    pool: asyncpg.Pool
    consumer: str
    first_wait: timedelta

    async def failed(self, row: AttemptedRow, error: Exception, *, event: str) -> Outcome:
        """Leaves the row to its sweeper for a while, or gives it up. Logs the failure as ``event``.

        Raises an error that lies outside the work again, to be held.
        """
        if is_outside(error):
            raise error
        if isinstance(error, BLOCKED):
            return await self._blocked(row, error)
        return await self._counted(row, error, event=event)

    async def _blocked(self, row: AttemptedRow, error: Exception) -> Outcome:
        metrics.CONSUMER_ERRORS.labels(self.consumer, "blocked").inc()
        log.warning("work_blocked", error=str(error), retry_in=BLOCKED_WAIT.total_seconds())
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            await row.defer(conn, wait=BLOCKED_WAIT)
        return Done()

    async def _counted(self, row: AttemptedRow, error: Exception, *, event: str) -> Outcome:
        reason = error_text(error)
        metrics.CONSUMER_ERRORS.labels(self.consumer, "failed").inc()
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            if not isinstance(error, Contended) and await row.split(conn, error=reason):
                return Done()
            attempts = await row.postpone(conn, error=reason, first_wait=self.first_wait)
            log.warning(event, attempts=attempts, exc_info=error)
            if attempts is None or attempts < MAX_ATTEMPTS or await row.split(conn, error=reason):
                return Done()
            await row.fail(conn, error=reason)
        return DeadLetter(reason)

    async def survived(self, row: AttemptedRow) -> None:
        """Notes that an attempt at redelivered work ended in the worker's lifetime, whatever kept it from an end."""
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            await row.forgive_redelivery(conn)

    async def redelivered(self, row: AttemptedRow) -> Outcome | None:
        """Notes that a command came back unsettled; None when it is to be tried, else how it ends."""
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            found = await row.count_redelivery(conn)
            if found is None:
                return None
            if found.redeliveries is None or found.redeliveries <= MAX_REDELIVERIES:
                return None if found.given_up is None else DeadLetter(found.given_up)
            if await row.split(conn, error=TOO_MANY_REDELIVERIES, redeliveries=SUSPECT_REDELIVERIES):
                return Done()
            await row.fail(conn, error=TOO_MANY_REDELIVERIES)
        return DeadLetter(TOO_MANY_REDELIVERIES)


async def retry_conflicts(step: Callable[[], Awaitable[Result]], *, event: str) -> Result:
    """Runs a step that is one transaction; after a conflict again, on what the others left. Logs each as ``event``.

    Contended after CONFLICT_RETRIES. What waited for a lock as long as it may is not tried again.
    """
    for attempt in range(CONFLICT_RETRIES):
        try:
            return await step()
        except BLOCKED:
            raise
        except CONFLICT as error:
            log.info(event, attempt=attempt, error=type(error).__name__)
    raise Contended(f"other sends were in the way {CONFLICT_RETRIES} times")
