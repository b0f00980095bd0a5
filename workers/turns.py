"""Turns: of each batch a few chunks are commanded at a time, so that batches share the workers (CONTRACT 2)."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import asyncpg
import structlog

from service.contracts.commands import DeliverChunk
from service.contracts.wording import named
from service.runtime.broker import BrokerUnavailable
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import continued
from sql import chunks, turns
from sql.deliveries import Succession
from sql.turns import Limits
from workers.attempts import BLOCKED
from workers.chunk_commands import publish_or_make_due
from workers.sweeper import SWEEP_LIMIT, Sweeper

log = structlog.get_logger(__name__)

AHEAD = timedelta(seconds=2)  # before its turn that a chunk may be given one: time to command and to deliver it
LOOK_INTERVAL = 0.25  # most seconds between two looks for turns that have come; others may give one meanwhile

PAGE = 100  # running batches that a sweep looks at with one statement

Command = Callable[[DeliverChunk], Awaitable[None]]


def limits_of(settings: Settings) -> Limits:
    """How many chunks of a batch may be in flight, and how fast."""
    return Limits(
        in_flight=settings.batch_chunks_in_flight,
        sender_pace=settings.sender_recipients_per_minute,
        account_pace=settings.account_recipients_per_minute,
        root_account_id=settings.root_account_id,
        ahead=AHEAD,
    )


class Turns:
    """Commands what is next of a batch. What is not published falls due at once and is swept up.

    Without ``command`` nothing is commanded: the sweepers do it.
    """

    def __init__(self, settings: Settings, pool: asyncpg.Pool, command: Command | None) -> None:
        self.limits = limits_of(settings)
        self._pool = pool
        self._command = command
        self._patience = timedelta(seconds=settings.retry_after)

    @property
    def succession(self) -> Succession | None:
        """For a delivery, which commands the next chunk itself; None where turns may lie ahead."""
        if self._command is None or self.limits.paced:
            return None
        return Succession(self.limits.in_flight, self._patience)

    async def top_up(self, batch_id: int) -> int:
        """Commands chunks of a running batch until enough are in flight; how many.

        A batch whose row others hold for too long is left to the next sweep, so that it delays no other.
        BrokerUnavailable when one was not confirmed.
        """
        if self._command is None:
            return 0
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                taken = await turns.take_turns(conn, batch_id, self.limits, patience=self._patience)
        except BLOCKED as error:
            log.warning("work_blocked", batch_id=batch_id, error=str(error))
            return 0
        await self.command(batch_id, sorted(turn.position for turn in taken if turn.wait <= 0))
        return len(taken)

    async def keep_going(self, batch_id: int) -> None:
        """``top_up`` after a chunk is settled: what it fails of is left to the sweeper."""
        try:
            await self.top_up(batch_id)
        except (asyncpg.PostgresError, *UNAVAILABLE, BrokerUnavailable) as error:
            log.warning("batch_not_topped_up", batch_id=batch_id, error=named(error))

    async def command(self, batch_id: int, positions: Iterable[int]) -> None:
        """Publishes the commands of these chunks; BrokerUnavailable when one was not confirmed."""
        if self._command is not None:
            commands = [DeliverChunk(batch_id=batch_id, position=position) for position in positions]
            await publish_or_make_due(self._pool, [(command, self._command(command)) for command in commands])

    async def sweep(self) -> int:
        """Commands chunks of running batches that have room for them, should no delivery have come to it; how many."""
        commanded, behind = 0, 0
        while True:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                page = await turns.running_batches(conn, self.limits, behind=behind, limit=PAGE)
            for batch in page:
                if batch.has_room:
                    with continued(batch.traceparent):
                        commanded += await self.top_up(batch.batch_id)
            if len(page) < PAGE:
                return commanded
            behind = page[-1].batch_id


class DueChunks(Sweeper):
    """Commands chunks that are due: their turn has come, or their command is taken for lost.

    Sleeps until the next turn, where there is a pace.
    """

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._pool = pool
        self._patience = timedelta(seconds=settings.retry_after)
        self._paced = limits_of(settings).paced
        if self._paced:
            self._interval = min(LOOK_INTERVAL, self._interval)
        self._longest = self._interval

    async def sweep(self) -> int:
        """How many were commanded; BrokerUnavailable when one was not confirmed, which falls due at once."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            due = await chunks.take_due_chunks(conn, patience=self._patience, limit=SWEEP_LIMIT)
            next_turn = await turns.next_turn(conn) if self._paced else None
        self._interval = self._longest if next_turn is None else min(next_turn, self._longest)
        commands = [DeliverChunk(batch_id=chunk.batch_id, position=chunk.position) for chunk in due]
        publishes = [self._repeat(command, chunk.traceparent) for command, chunk in zip(commands, due, strict=True)]
        await publish_or_make_due(self._pool, list(zip(commands, publishes, strict=True)))
        if due:
            log.info("chunks_swept", chunks=len(due))
        return len(due)
