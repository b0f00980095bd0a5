"""The scheduler: starts the sends whose time has come. Any number share the work, in any number of processes."""

import asyncio

import asyncpg
import structlog

from service.application.messages.schedule import DOUBLINGS, FIRST_WAIT, Started, StartFailed, start_next
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.contracts.commands import PlanBatch
from service.runtime import event_metadata, metrics
from service.runtime.broker import BrokerUnavailable
from service.runtime.ids import IdBlocks
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import schedule
from sql.connection import Connection
from workers.sweeper import Sweeper

log = structlog.get_logger(__name__)

# Seconds between two looks for what is due. A send may be scheduled, or moved, while the scheduler sleeps.
LOOK_INTERVAL = 0.5
LANES = 2  # starts at once in one process: a big one does not hold up the others that are due


class Scheduler(Sweeper):
    """Starts what is due, whether the broker is there or not; the sweeper commands what it could not command."""

    needs_broker = False

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._longest = self._interval = min(LOOK_INTERVAL, settings.sweep_interval)
        self._settings = settings
        self._pool = pool
        self._ids, self._tag_sets = IdBlocks(), TagSets()

    async def sweep(self) -> int:
        """Starts all that is due, and sets the pause until the next is; returns how many were started."""
        started = 0
        due_in = await self._due_in()
        if due_in <= 0:
            started = sum(await asyncio.gather(*(self._start_all() for _ in range(LANES))))
            due_in = await self._due_in()
        # What is due still is in work elsewhere.
        self._interval = min(due_in, self._longest) if due_in > 0 else self._longest
        return started

    async def _due_in(self) -> float:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            due_in = await schedule.next_start(conn)
        return self._longest if due_in is None else due_in

    async def _start_all(self) -> int:
        started = 0
        while not self._stopping.is_set() and await self._start_one():
            started += 1
        return started

    async def _start_one(self) -> bool:
        """False when none is due. A batch whose start fails is put off, and the others go on."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            try:
                started = await start_next(conn, self._work)
            except StartFailed as failed:
                await self._put_off(conn, failed)
                return True
        if started is None:
            return False
        self._report(started)
        if started.running:
            await self._plan(started)
        return True

    async def _put_off(self, conn: Connection, failed: StartFailed) -> None:
        reason = failed.__cause__
        if isinstance(reason, UNAVAILABLE) and not isinstance(reason, ValueError):
            raise reason
        text = f"{type(reason).__name__}: {reason}" if reason else "changed meanwhile"
        log.warning("start_failed", batch_id=failed.batch_id, error=text)
        await schedule.postpone_scheduled(conn, failed.batch_id, error=text, first_wait=FIRST_WAIT, doublings=DOUBLINGS)

    def _work(self, batch_id: int) -> Work:
        cause = event_metadata.job(self._settings, message_id=f"start.{batch_id}", name="start")
        return Work(self._settings, self._ids, self._tag_sets, cause)

    def _report(self, started: Started) -> None:
        metrics.SCHEDULED_STARTS.inc()
        log.info("batch_started", batch_id=started.batch_id, late=round(started.late, 3), refused=started.refused)

    async def _plan(self, started: Started) -> None:
        try:
            await self._repeat(PlanBatch(batch_id=started.batch_id), started.traceparent)
        except BrokerUnavailable as error:
            log.warning("command_not_published", batch_id=started.batch_id, error=str(error))
