"""DeliverChunk: writes one chunk's messages, or notes why not and when to try again."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter

import asyncpg
import structlog

from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import DeliverChunk
from service.domain.event_metadata import Cause
from service.runtime import event_metadata, metrics
from service.runtime.postgres import ACQUIRE_TIMEOUT, CONFLICT, is_unavailable
from service.runtime.settings import Settings
from sql import chunks
from sql.chunks import PendingChunk
from sql.connection import Connection
from workers.consumer import HAND_OUTS, NO_VERDICT
from workers.outcome import Discard, Done, Verdict

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

        Raises what postgres.is_unavailable knows: whether a commit counted is then unknown, and the chunk will tell the
        next attempt.
        """
        try:
            outcome = await self._deliver(command)
        except Exception as error:
            if is_unavailable(error):
                raise
            metrics.CHUNKS_FAILED.inc()
            log.exception("chunk_failed")
            return await self._give_back(command, told(error))
        if isinstance(outcome, Nothing):
            return _explain(outcome)
        metrics.CHUNKS_DELIVERED.inc()
        metrics.RECIPIENTS_DELIVERED.inc(outcome.recipients)
        return Done()

    async def returned(self, command: DeliverChunk) -> Verdict | None:
        """Notes that a command was handed out before and brought no verdict: its worker may have died of it.

        Too often, and the chunk is given up, as after too many failures.
        """
        at = (command.batch_id, command.position)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            found = await chunks.count_chunk_redelivery(conn, *at)
            if found is None:
                return None
            if found.redeliveries is not None and found.redeliveries > HAND_OUTS:
                await chunks.fail_chunk(conn, *at, error=NO_VERDICT, now=datetime.now(UTC), cause=self._cause(command))
                return Discard(NO_VERDICT)
        return Discard(found.failure) if found.failure else None

    def _cause(self, command: DeliverChunk) -> Cause | None:
        return event_metadata.job(self._settings, message_id=command.message_id, name=command.name)

    async def _deliver(self, command: DeliverChunk) -> ChunkOutcome | Nothing:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            pending = await read_chunk(conn, command.batch_id, command.position)
            if isinstance(pending, Nothing):
                return pending
            for meeting in range(MEETINGS):
                try:
                    return await self._write(conn, pending, self._cause(command))
                except CONFLICT as error:
                    log.info("threads_contended", meeting=meeting, error=type(error).__name__)
        raise RuntimeError(f"other sends were in the way {MEETINGS} times")

    async def _write(self, conn: Connection, pending: PendingChunk, cause: Cause | None) -> ChunkOutcome | Nothing:
        async with conn.transaction(), self._lanes:
            started = perf_counter()
            outcome = await deliver_chunk(conn, self._tag_sets, pending, cause=cause)
        seconds = perf_counter() - started
        if isinstance(outcome, ChunkOutcome):
            metrics.CHUNK_SECONDS.observe(seconds)
            log.info("chunk_delivered", recipients=outcome.recipients, reused=outcome.reused, seconds=round(seconds, 4))
        return outcome

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
            await chunks.fail_chunk(
                conn, command.batch_id, command.position, error=error, now=now, cause=self._cause(command)
            )
            return Discard(error)


def _explain(outcome: Nothing) -> Verdict:
    if outcome.chunk_state is None:
        return Discard("no such chunk")
    log.info("nothing_to_deliver", chunk_state=outcome.chunk_state, batch_state=outcome.batch_state)
    return Done()


def told(error: Exception) -> str:
    """The error as a row can keep it: short, and without the NUL that PostgreSQL stores nowhere."""
    return f"{type(error).__name__}: {error}".replace("\0", "")[:ERROR_LIMIT]
