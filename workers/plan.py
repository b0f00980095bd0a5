"""PlanBatch, and its sweeper: both have the first chunks of a batch commanded, after which one follows the other."""

import asyncpg
import structlog

from service.contracts.commands import PlanBatch
from service.runtime import event_metadata
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import batch_moves
from workers.outcome import Done, Outcome
from workers.sweeper import Sweeper
from workers.turns import Turns

log = structlog.get_logger(__name__)


class Planner(Sweeper):
    """Begins batches. A chunk it could not publish falls due at once and is swept up."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._pool = pool
        self._turns = Turns(settings, pool, publisher.command)
        self._cause = event_metadata.cause(settings, {})

    async def handle(self, command: PlanBatch) -> Outcome:
        """Publishes the first chunks of a batch; raises BrokerUnavailable when one was not confirmed."""
        chunks = await self._turns.top_up(command.batch_id)
        log.info("batch_planned", chunks=chunks)
        return Done()

    async def sweep(self) -> int:
        """Goes on with batches that nobody goes on with; returns how many chunks were commanded.

        Chunks that were in work when their batch was cancelled, and have not ended, are skipped.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            await batch_moves.settle_cancelled(conn, self._cause)
        commanded = await self._turns.sweep()
        if commanded:
            log.info("batches_topped_up", chunks=commanded)
        return commanded
