"""UpdateConversations: carries a batch update out and sweeps up those that were left."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import asyncpg
import structlog

from service.application.inbox.batch_update import carry_out
from service.contracts.commands import UpdateConversations
from service.contracts.wording import ERROR_LIMIT
from service.domain.batch_updates import ProgressState
from service.runtime import metrics
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import batch_updates
from sql.attempts import Redelivery
from sql.connection import Connection
from workers.attempts import (
    TOO_MANY_REDELIVERIES,
    AttemptedRow,
    Attempts,
    retry_conflicts,
)
from workers.outcome import DeadLetter, Done, Outcome
from workers.sweeper import SWEEP_LIMIT, Sweeper

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _UpdateRow(AttemptedRow):
    """When it is given up, ``message`` says to the user why."""

    progress_id: int
    message: str = TOO_MANY_REDELIVERIES

    async def postpone(self, conn: Connection, *, error: str, first_wait: timedelta) -> int | None:
        return await batch_updates.postpone_progress(conn, self.progress_id, error=error, first_wait=first_wait)

    async def count_redelivery(self, conn: Connection) -> Redelivery | None:
        return await batch_updates.count_progress_redelivery(conn, self.progress_id)

    async def forgive_redelivery(self, conn: Connection) -> None:
        await batch_updates.forgive_progress_redelivery(conn, self.progress_id)

    async def defer(self, conn: Connection, *, wait: timedelta) -> None:
        await batch_updates.defer_progress(conn, self.progress_id, wait=wait)

    async def fail(self, conn: Connection, *, error: str) -> None:
        await batch_updates.fail_progress(conn, self.progress_id, error=error, message=self.message)


class Updater(Sweeper):
    """Handles UpdateConversations; any number of them may get the same update, and one of them does it."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._patience = timedelta(seconds=settings.retry_after)
        self._pool = pool
        self._attempts = Attempts(pool, "update", first_wait=self._patience)

    async def handle(self, command: UpdateConversations) -> Outcome:
        """Brings the update to its end; a finished or cancelled one is left as it is.

        Raises what lies outside the update (workers.outcome.is_outside): the row says whether it was done, and the
        next attempt looks there.
        """
        try:
            state = await retry_conflicts(partial(self._carry_out, command.progress_id), event="update_contended")
        except Exception as error:
            return await self._failed(command, error)
        if state is None:
            return await self._explain(command)
        metrics.UPDATES_FINISHED.labels(state).inc()
        log.info("conversations_updated", state=state)
        return Done()

    async def _carry_out(self, progress_id: int) -> ProgressState | None:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            return await carry_out(conn, progress_id)

    async def redelivered(self, command: UpdateConversations) -> Outcome | None:
        """Notes that a command was delivered before and not settled: its worker may have been killed by the update."""
        return await self._attempts.redelivered(_UpdateRow(command.progress_id))

    async def survived(self, command: UpdateConversations) -> None:
        """Notes that it did not."""
        await self._attempts.survived(_UpdateRow(command.progress_id))

    async def _failed(self, command: UpdateConversations, error: Exception) -> Outcome:
        message = str(error).replace("\0", "")[:ERROR_LIMIT] or type(error).__name__
        row = _UpdateRow(command.progress_id, message)
        outcome = await self._attempts.failed(row, error, event="update_postponed")
        if isinstance(outcome, DeadLetter):
            metrics.UPDATES_FINISHED.labels(ProgressState.FAILED).inc()
        return outcome

    async def _explain(self, command: UpdateConversations) -> Outcome:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            found = await batch_updates.find_progress(conn, command.progress_id)
        if found is None:
            return DeadLetter("no such progress")
        log.info("nothing_to_update", state=found.state)
        return Done()

    async def sweep(self) -> int:
        """Publishes updates that are due; returns how many. One that is not confirmed falls due again."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            due = await batch_updates.take_due_progresses(conn, patience=self._patience, limit=SWEEP_LIMIT)
        await asyncio.gather(*(self._repeat(UpdateConversations(progress_id=id_), trace) for id_, trace in due))
        if due:
            log.info("updates_swept", updates=len(due))
        return len(due)
