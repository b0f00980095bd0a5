"""UpdateConversations: carries a batch update out, slice by slice, and sweeps up those that were left."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from service.application.batch_updating import advance
from service.contracts.commands import UpdateConversations
from service.domain.batch_updates import ProgressState
from service.runtime import metrics
from service.runtime.broker import Publisher
from service.runtime.postgres import ACQUIRE_TIMEOUT, CONFLICT, is_unavailable
from service.runtime.settings import Settings
from sql import progress as rows
from sql.connection import Connection
from workers.sweeping import SWEEP_LIMIT, Sweeper
from workers.verdict import Discard, Done, Verdict

log = structlog.get_logger(__name__)

ERROR_LIMIT = 2000  # characters kept of an error


class Updater(Sweeper):
    """Handles UpdateConversations; any number of them may meet on one update, and each does the next slice of it."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._patience = timedelta(seconds=settings.retry_after)
        self._pool = pool

    async def handle(self, command: UpdateConversations) -> Verdict:
        """Brings the update to its end, from wherever it is; a finished or cancelled one is left as it is.

        Raises what postgres.is_unavailable or CONFLICT knows: the row says how far it came, and the next attempt goes
        on from there.
        """
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                state = await self._carry_out(conn, command.progress_id)
        except Exception as error:
            if is_unavailable(error) or isinstance(error, CONFLICT):
                raise
            log.exception("update_failed")
            return await self._give_up(command, error)
        if state is None:
            return await self._explain(command)
        metrics.UPDATES_FINISHED.labels(state).inc()
        log.info("conversations_updated", state=state)
        return Done()

    async def _carry_out(self, conn: Connection, progress_id: int) -> ProgressState | None:
        """Slice after slice, each in a transaction of its own; the last state, None when nothing was left to do."""
        reached = None
        while reached in (None, ProgressState.RUNNING):
            async with conn.transaction():
                state = await advance(conn, progress_id, patience=self._patience)
            if state is None:
                break
            reached = state
        return reached

    async def _give_up(self, command: UpdateConversations, error: Exception) -> Verdict:
        """The user is told what stopped it, and so are the dead letters."""
        told = str(error).replace("\0", "")[:ERROR_LIMIT] or type(error).__name__
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            await rows.fail_progress(conn, command.progress_id, told, now=datetime.now(UTC))
        metrics.UPDATES_FINISHED.labels(ProgressState.FAILED).inc()
        return Discard(f"{type(error).__name__}: {error}")

    async def _explain(self, command: UpdateConversations) -> Verdict:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            found = await rows.find_progress(conn, command.progress_id)
        if found is None:
            return Discard("no such progress")
        log.info("nothing_to_update", state=found.state)
        return Done()

    async def sweep(self) -> int:
        """Publishes updates that are due; returns how many. One that is not confirmed falls due again."""
        now = datetime.now(UTC)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            due = await rows.take_due_progresses(conn, now=now, due_at=now + self._patience, limit=SWEEP_LIMIT)
        await asyncio.gather(*(self._publisher.command(UpdateConversations(progress_id=id_)) for id_ in due))
        if due:
            log.info("updates_swept", updates=len(due))
        return len(due)
