"""The loop around a sweep: it outlives what can pass, and what else ends it is raised."""

import asyncio

import asyncpg
import pytest

from service.runtime.broker import BrokerUnavailable
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient
from tests.support.figures import growth
from tests.support.waiting import PATIENCE
from workers.process import Worker
from workers.sweeper import SWEEP_LIMIT, Sweeper


class Scripted(Sweeper):
    """Every sweep has its outcome; after the last one it stops."""

    def __init__(
        self, settings: Settings, publisher: Publisher, *outcomes: int | Exception, interval: float = 0.001
    ) -> None:
        super().__init__(settings.model_copy(update={"sweep_interval": interval}), publisher)
        self.outcomes = list(outcomes)

    async def sweep(self) -> int:
        """The next outcome."""
        outcome = self.outcomes.pop(0)
        if not self.outcomes:
            self.stop()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_after_any_error_of_database_or_broker_the_next_sweep_comes(
    settings: Settings, publisher: Publisher, outside: BrokerClient
) -> None:
    failed = growth("worker", "clarion_sweeps_failed_total", sweeper="Scripted")
    sweeper = Scripted(
        settings,
        publisher,
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.UndefinedTableError("not migrated yet"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.InterfaceError("connection is closed"),
        BrokerUnavailable("not connected"),
        ConnectionRefusedError(),
        TimeoutError(),
        SWEEP_LIMIT,
        0,
    )

    await asyncio.wait_for(sweeper.run_sweeper(), PATIENCE)

    assert sweeper.outcomes == []
    assert failed() == 7


async def test_a_sweep_that_took_all_it_may_is_followed_by_the_next_at_once(
    settings: Settings, publisher: Publisher, outside: BrokerClient
) -> None:
    sweeper = Scripted(settings, publisher, SWEEP_LIMIT, SWEEP_LIMIT, 0, interval=3600)

    await asyncio.wait_for(sweeper.run_sweeper(), PATIENCE)

    assert sweeper.outcomes == []


async def test_a_sweeper_that_fails_ends_its_worker(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient
) -> None:
    """A worker without its sweeper looks well, and what is lost stays lost."""
    worker = Worker(settings, pool, publisher)
    sweeper = Scripted(settings, publisher, 0, LookupError("a fault of ours"), 0)
    worker.tasks = [asyncio.create_task(sweeper.run_sweeper())]

    with pytest.raises(LookupError, match="a fault of ours"):
        await asyncio.wait_for(worker.serve(asyncio.Event()), PATIENCE)


async def test_a_worker_serves_until_it_is_stopped(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher
) -> None:
    stop = asyncio.Event()
    serving = asyncio.create_task(Worker(settings, pool, publisher).serve(stop))

    stop.set()

    await asyncio.wait_for(serving, PATIENCE)
