"""PlanBatch, and the sweeper: both publish a DeliverChunk for what is committed and not done."""

import asyncio
from datetime import timedelta

import asyncpg
import structlog

from service.contracts.commands import DeliverChunk, PlanBatch
from service.runtime import event_metadata
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import batch_moves, chunks
from workers.outcome import Done, Outcome
from workers.sweeper import SWEEP_LIMIT, Sweeper

log = structlog.get_logger(__name__)


class Planner(Sweeper):
    """Turns pending chunks into commands. A chunk it could not publish falls due again and is swept up."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._patience = timedelta(seconds=settings.retry_after)
        self._pool = pool
        self._cause = event_metadata.cause(settings, {})

    async def handle(self, command: PlanBatch) -> Outcome:
        """Publishes all pending chunks of a batch; raises BrokerUnavailable when one was not confirmed."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            positions = await chunks.plan_batch(conn, command.batch_id, self._patience)
        commands = [DeliverChunk(batch_id=command.batch_id, position=position) for position in sorted(positions)]
        await asyncio.gather(*map(self._publisher.command, commands))
        log.info("batch_planned", chunks=len(positions))
        return Done()

    async def sweep(self) -> int:
        """Publishes chunks that are due; returns how many. One that is not confirmed falls due again.

        Those that were in work when their batch was cancelled, and have not ended, are skipped.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            await batch_moves.settle_cancelled(conn, self._cause)
            due = await chunks.take_due_chunks(conn, patience=self._patience, limit=SWEEP_LIMIT)
        await asyncio.gather(
            *(
                self._repeat(DeliverChunk(batch_id=batch_id, position=position), traceparent)
                for batch_id, position, traceparent in due
            )
        )
        if due:
            log.info("chunks_swept", chunks=len(due))
        return len(due)
