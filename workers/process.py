"""``clarion worker``: every consumer, or those asked for, in one process."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
import structlog

from service.contracts.commands import AnyCommand, DeliverChunk, PlanBatch
from service.runtime.broker import Publisher
from service.runtime.postgres import create_pool
from service.runtime.settings import Settings
from service.runtime.signals import stop_event
from workers.consumer import Consumer
from workers.deliver import Deliverer
from workers.plan import Planner
from workers.verdict import Verdict

log = structlog.get_logger(__name__)


@dataclass
class Worker:
    """The parts of one worker process that are running."""

    settings: Settings
    pool: asyncpg.Pool
    publisher: Publisher
    consumers: list[Consumer] = field(default_factory=list)
    planners: list[Planner] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self, names: Sequence[str]) -> None:
        """Starts the named consumers."""
        await self.publisher.broker.start()
        for name in names:
            WORKERS[name](self)
        for consumer in self.consumers:
            await consumer.start()
        self.tasks = [asyncio.create_task(planner.run_sweeper()) for planner in self.planners]

    async def drain(self) -> None:
        """Finishes the commands in work and disconnects."""
        for planner in self.planners:
            planner.stop()
        await asyncio.gather(*(consumer.drain() for consumer in self.consumers), *self.tasks)
        await self.publisher.broker.stop()


def _plan(worker: Worker) -> None:
    planner = Planner(worker.settings, worker.pool, worker.publisher)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, PlanBatch), command  # noqa: S101 - another command here is a broken binding
        return await planner.handle(command)

    worker.planners.append(planner)
    worker.consumers.append(Consumer(worker.settings, "plan", handle, worker.publisher))


def _deliver(worker: Worker) -> None:
    deliverer = Deliverer(worker.settings, worker.pool)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, DeliverChunk), command  # noqa: S101 - another command here is a broken binding
        return await deliverer.handle(command)

    lanes = worker.settings.deliver_lanes
    worker.consumers.append(Consumer(worker.settings, "deliver", handle, worker.publisher, lanes=lanes))


WORKERS: dict[str, Callable[[Worker], None]] = {"plan": _plan, "deliver": _deliver}


async def run(settings: Settings, names: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT, then drains."""
    stop = stop_event()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(await create_pool(settings))
        worker = Worker(settings, pool, Publisher(settings, "clarion-worker"))
        await worker.start(names)
        log.info("worker_started", consumers=list(names))
        await stop.wait()
        log.info("worker_draining")
        await worker.drain()
