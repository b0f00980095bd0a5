"""DeliverChunk: writes one chunk's messages, or notes why not and when to try again."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter

import asyncpg
import structlog

from service.application.delivering import ChunkOutcome, deliver_chunk
from service.application.tagging import TagSets
from service.contracts.commands import DeliverChunk
from service.domain.batch import FINAL
from service.runtime import metrics
from service.runtime.postgres import ACQUIRE_TIMEOUT, CONFLICT, is_unavailable
from service.runtime.settings import Settings
from sql import chunks
from workers.verdict import Discard, Done, Verdict

log = structlog.get_logger(__name__)

MEETINGS = 20  # attempts at once when other sends write the same threads; each of theirs ends a meeting
MAX_ATTEMPTS = 5  # failures of the chunk itself before it is given up; the wait between them doubles
ERROR_LIMIT = 2000  # characters kept of an error


class Deliverer:
    """Handles DeliverChunk; any number of them, in any number of processes, may meet on a chunk.

    As many chunks are written at once as there are lanes. One more may be in work: while a commit is on its way to the
    disk, its lane is free for the next.
    """

    def __init__(self, settings: Settings, pool: asyncpg.Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._tag_sets = TagSets()
        self._lanes = asyncio.Semaphore(settings.deliver_lanes)
        self.commands_at_once = settings.deliver_lanes + 1

    async def handle(self, command: DeliverChunk) -> Verdict:
        """Delivers the chunk once, however often it is commanded.

        Raises what postgres.is_unavailable knows: whether a commit counted is then unknown, and the claim of the next
        attempt will tell.
        """
        try:
            outcome, started = await self._deliver(command)
        except Exception as error:
            if is_unavailable(error):
                raise
            metrics.CHUNKS_FAILED.inc()
            log.exception("chunk_failed")
            return await self._give_back(command, told(error))
        if outcome.recipients == 0:
            return _explain(outcome)
        metrics.CHUNKS_DELIVERED.inc()
        metrics.RECIPIENTS_DELIVERED.inc(outcome.recipients)
        metrics.CHUNK_SECONDS.observe(perf_counter() - started)
        if outcome.batch_state in FINAL:
            metrics.BATCHES_FINISHED.labels(outcome.batch_state).inc()
        log.info(
            "chunk_delivered",
            recipients=outcome.recipients,
            reused=outcome.reused,
            batch_state=outcome.batch_state,
            seconds=round(perf_counter() - started, 4),
        )
        return Done()

    async def _deliver(self, command: DeliverChunk) -> tuple[ChunkOutcome, float]:
        """What became of it, and when a lane was free to begin."""
        for meeting in range(MEETINGS):
            try:
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction(), self._lanes:
                    started = perf_counter()
                    return await deliver_chunk(conn, self._tag_sets, command.batch_id, command.position), started
            except CONFLICT as error:
                log.info("threads_contended", meeting=meeting, error=type(error).__name__)
        raise RuntimeError(f"other sends were in the way {MEETINGS} times")

    async def _give_back(self, command: DeliverChunk, error: str) -> Verdict:
        """Leaves the chunk to the sweeper, or gives it up; its recipients then count as failed."""
        now = datetime.now(UTC)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            attempts = await chunks.postpone_chunk(
                conn,
                command.batch_id,
                command.position,
                error=error,
                now=now,
                first_wait=timedelta(seconds=self._settings.retry_after),
            )
            log.warning("chunk_postponed", attempts=attempts)
            if attempts is None or attempts < MAX_ATTEMPTS:
                return Done()
            await chunks.fail_chunk(conn, command.batch_id, command.position, error=error, now=now)
            return Discard(error)


def _explain(outcome: ChunkOutcome) -> Verdict:
    if outcome.chunk_state is None:
        return Discard("no such chunk")
    log.info("nothing_to_deliver", chunk_state=outcome.chunk_state, batch_state=outcome.batch_state)
    return Done()


def told(error: Exception) -> str:
    """The error as a row can keep it: short, and without the NUL that PostgreSQL stores nowhere."""
    return f"{type(error).__name__}: {error}".replace("\0", "")[:ERROR_LIMIT]
