"""DeliverChunk: writes one chunk's messages, or notes why not and when to try again."""

import asyncio
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import perf_counter

import asyncpg
import structlog

from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_chunk, read_chunk
from service.application.messages.chunk_parts import cut_in_two
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import DeliverChunk
from service.domain.batch import RUNNING, BatchState
from service.domain.event_metadata import Cause
from service.runtime import event_metadata, metrics
from service.runtime.broker import BrokerUnavailable
from service.runtime.notifications import BatchNotices
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.settings import Settings
from sql import batch_moves, chunks
from sql.attempts import Redelivery
from sql.chunks import PendingChunk
from sql.connection import Connection
from workers.attempts import AttemptedRow, Attempts, retry_conflicts
from workers.outcome import DeadLetter, Done, Outcome
from workers.turns import Command, Turns

log = structlog.get_logger(__name__)


FEW = 200  # recipients of a chunk that needs no lane: it is written in milliseconds


@dataclass(frozen=True, slots=True)
class _ChunkRow(AttemptedRow):
    """When it is given up, its recipients count as failed; as skipped where its batch was cancelled meanwhile.

    ``halves``: positions of what it was cut into.
    """

    batch_id: int
    position: int
    cause: Cause | None
    patience: timedelta
    halves: list[int] = field(default_factory=list)

    async def postpone(self, conn: Connection, *, error: str, first_wait: timedelta) -> int | None:
        await self.settle_cancelled(conn)
        return await chunks.postpone_chunk(conn, self.batch_id, self.position, error=error, first_wait=first_wait)

    async def count_redelivery(self, conn: Connection) -> Redelivery | None:
        return await chunks.count_chunk_redelivery(conn, self.batch_id, self.position)

    async def forgive_redelivery(self, conn: Connection) -> None:
        await chunks.forgive_chunk_redelivery(conn, self.batch_id, self.position)

    async def defer(self, conn: Connection, *, wait: timedelta) -> None:
        await chunks.defer_chunk(conn, self.batch_id, self.position, wait=wait)

    async def split(self, conn: Connection, *, error: str, redeliveries: int = 0) -> bool:
        second = await cut_in_two(
            conn, self.batch_id, self.position, error=error, patience=self.patience, redeliveries=redeliveries
        )
        if second is None:
            return False
        self.halves.extend([self.position, second])
        return True

    async def fail(self, conn: Connection, *, error: str) -> None:
        await self.settle_cancelled(conn)
        await chunks.fail_chunk(conn, self.batch_id, self.position, error=error, cause=self.cause)

    async def settle_cancelled(self, conn: Connection) -> None:
        """Does nothing unless the batch is cancelled and left this chunk, which was in work then."""
        await batch_moves.settle_cancelled(conn, self.cause, batch_id=self.batch_id, position=self.position)


class Deliverer:
    """Handles DeliverChunk; any number of them, in any number of processes, may get the same chunk.

    As many chunks are written at once as there are lanes; those of few recipients besides, so that a small send does
    not wait for the chunks of a big one. More commands than that are in work: while a commit is on its way to the disk,
    its lane is free for the next, and the chunks of one big send leave room for others.

    ``command`` publishes the commands of the chunks that follow; what it does not is left to the sweeper.
    """

    def __init__(self, settings: Settings, pool: asyncpg.Pool, command: Command | None = None) -> None:
        self._settings = settings
        self._pool = pool
        self._turns = Turns(settings, pool, command)
        self._patience = timedelta(seconds=settings.retry_after)
        self._attempts = Attempts(pool, "deliver", first_wait=self._patience)
        self._tag_sets = TagSets()
        self._notices = BatchNotices(pool)
        self._lanes = asyncio.Semaphore(settings.deliver_lanes)
        # Each has a connection, and others need some.
        most = max(settings.deliver_lanes + 1, settings.database_pool_size // 2)
        self.commands_at_once = min(settings.deliver_lanes + settings.batch_chunks_in_flight, most)

    async def handle(self, command: DeliverChunk) -> Outcome:
        """Delivers the chunk once, however often it is commanded.

        Raises what lies outside the chunk (workers.outcome.is_outside): whether a commit counted is then unknown, and
        the next attempt finds it in the chunk's row.
        """
        try:
            outcome = await self._deliver(command)
        except Exception as error:
            row = self._row(command)
            ended = await self._attempts.failed(row, error, event="chunk_postponed")
            metrics.CHUNKS_FAILED.inc()
            self._notices.changed(command.batch_id)
            await self._go_on(row)
            return ended
        if isinstance(outcome, Nothing):
            return await self._explain(command, outcome)
        self._notices.changed(command.batch_id)
        metrics.CHUNKS_DELIVERED.inc()
        metrics.RECIPIENTS_DELIVERED.inc(outcome.recipients)
        await self._follow(command.batch_id, outcome)
        return Done()

    async def redelivered(self, command: DeliverChunk) -> Outcome | None:
        """Notes that a command was delivered before and not settled: the chunk may have killed its worker."""
        row = self._row(command)
        ended = await self._attempts.redelivered(row)
        if ended is not None:
            await self._go_on(row)
        return ended

    async def survived(self, command: DeliverChunk) -> None:
        """Notes that it did not."""
        await self._attempts.survived(self._row(command))

    def _row(self, command: DeliverChunk) -> _ChunkRow:
        return _ChunkRow(command.batch_id, command.position, self._cause(command), self._patience)

    async def _follow(self, batch_id: int, outcome: ChunkOutcome) -> None:
        """The delivery has chosen the next chunk, which is published now; with a pace it is chosen now."""
        if self._turns.limits.paced:
            await self._turns.keep_going(batch_id)
        elif outcome.next_position is not None:
            with suppress(BrokerUnavailable):
                await self._turns.command(batch_id, [outcome.next_position])

    async def _go_on(self, row: _ChunkRow) -> None:
        """After a failure: others take the place of the chunk, unless it was cut; then its first half has it."""
        if row.halves:
            with suppress(BrokerUnavailable):
                await self._turns.command(row.batch_id, row.halves[:1])
        await self._turns.keep_going(row.batch_id)

    def _cause(self, command: DeliverChunk) -> Cause | None:
        return event_metadata.job(self._settings, message_id=command.message_id, name=command.name)

    async def _deliver(self, command: DeliverChunk) -> ChunkOutcome | Nothing:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            pending = await read_chunk(conn, command.batch_id, command.position)
            if isinstance(pending, Nothing):
                return pending
            return await retry_conflicts(
                partial(self._write, conn, pending, self._cause(command)), event="threads_contended"
            )

    async def _write(self, conn: Connection, pending: PendingChunk, cause: Cause | None) -> ChunkOutcome | Nothing:
        # Begun in the lane, so that no transaction idles while it waits for one; committed outside.
        async with AsyncExitStack() as stack, self._lanes if len(pending.recipients) > FEW else nullcontext():
            await stack.enter_async_context(conn.transaction())
            started = perf_counter()
            succession = self._turns.succession
            outcome = await deliver_chunk(conn, self._tag_sets, pending, cause=cause, succession=succession)
        seconds = perf_counter() - started
        if isinstance(outcome, ChunkOutcome):
            metrics.CHUNK_SECONDS.observe(seconds)
            log.info("chunk_delivered", recipients=outcome.recipients, reused=outcome.reused, seconds=round(seconds, 4))
        return outcome

    async def _explain(self, command: DeliverChunk, outcome: Nothing) -> Outcome:
        if outcome.chunk_state is None:
            return DeadLetter("no such chunk")
        log.info("nothing_to_deliver", chunk_state=outcome.chunk_state, batch_state=outcome.batch_state)
        if (outcome.chunk_state, outcome.batch_state) == ("pending", BatchState.CANCELLED):
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                await self._row(command).settle_cancelled(conn)
        elif outcome.batch_state in RUNNING:  # a reader was faster, or the command came twice
            await self._turns.keep_going(command.batch_id)
        return Done()
