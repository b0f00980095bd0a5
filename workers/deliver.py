"""DeliverChunk: writes one chunk's messages, or notes why not and when to try again."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter

import asyncpg
import structlog

from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import DeliverChunk
from service.runtime import event_metadata, metrics
from service.runtime.postgres import ACQUIRE_TIMEOUT, is_unavailable
from service.runtime.settings import Settings
from sql import chunks
from sql.chunks import PendingChunk
from sql.connection import Connection
from workers.attempts import MAX_ATTEMPTS, MAX_REDELIVERIES, TOO_MANY_REDELIVERIES, error_text, retry_conflicts
from workers.outcome import DeadLetter, Done, Outcome

log = structlog.get_logger(__name__)


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

    async def handle(self, command: DeliverChunk) -> Outcome:
        """Delivers the chunk once, however often it is commanded.

        Raises what postgres.is_unavailable knows: whether a commit counted is then unknown, and the next attempt
        finds it in the chunk's row.
        """
        try:
            outcome = await self._deliver(command)
        except Exception as error:
            if is_unavailable(error):
                raise
            metrics.CHUNKS_FAILED.inc()
            log.exception("chunk_failed")
            return await self._give_back(command, error_text(error))
        if isinstance(outcome, Nothing):
            return _explain(outcome)
        metrics.CHUNKS_DELIVERED.inc()
        metrics.RECIPIENTS_DELIVERED.inc(outcome.recipients)
        return Done()

    async def redelivered(self, command: DeliverChunk) -> Outcome | None:
        """Notes that a command was delivered before and not settled: its worker may have been killed by the chunk.

        Too often, and the chunk is given up, as after too many failures.
        """
        at = (command.batch_id, command.position)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            found = await chunks.hand_out_chunk(conn, *at)
            if found is None:
                return None
            if found.hand_outs is not None and found.hand_outs > MAX_REDELIVERIES:
                await chunks.fail_chunk(
                    conn, *at, error=TOO_MANY_REDELIVERIES, now=datetime.now(UTC), cause=event_metadata.current()
                )
                return DeadLetter(TOO_MANY_REDELIVERIES)
        return DeadLetter(found.given_up) if found.given_up else None

    async def _deliver(self, command: DeliverChunk) -> ChunkOutcome | Nothing:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            pending = await read_chunk(conn, command.batch_id, command.position)
            if isinstance(pending, Nothing):
                return pending
            return await retry_conflicts(partial(self._write, conn, pending), event="threads_contended")

    async def _write(self, conn: Connection, pending: PendingChunk) -> ChunkOutcome | Nothing:
        async with conn.transaction(), self._lanes:
            started = perf_counter()
            outcome = await deliver_chunk(conn, self._tag_sets, pending)
        seconds = perf_counter() - started
        if isinstance(outcome, ChunkOutcome):
            metrics.CHUNK_SECONDS.observe(seconds)
            log.info("chunk_delivered", recipients=outcome.recipients, reused=outcome.reused, seconds=round(seconds, 4))
        return outcome

    async def _give_back(self, command: DeliverChunk, error: str) -> Outcome:
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
                conn, command.batch_id, command.position, error=error, now=now, cause=event_metadata.current()
            )
            return DeadLetter(error)


def _explain(outcome: Nothing) -> Outcome:
    if outcome.chunk_state is None:
        return DeadLetter("no such chunk")
    log.info("nothing_to_deliver", chunk_state=outcome.chunk_state, batch_state=outcome.batch_state)
    return Done()
