"""``clarion worker``: every consumer, or those asked for, in one process."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
import structlog

from service.contracts.commands import AnyCommand, DeliverChunk, DeliverReply, PlanBatch, UpdateConversations
from service.runtime.broker import Publisher
from service.runtime.postgres import close_pool, create_pool
from service.runtime.settings import Settings
from service.runtime.signals import stop_event
from workers.consumer import DRAIN, Consumer
from workers.deliver import Deliverer
from workers.merging import MergeFollower
from workers.plan import Planner
from workers.reply import ReplyWriter
from workers.sweeping import Sweeper
from workers.update import Updater
from workers.verdict import Verdict

log = structlog.get_logger(__name__)


@dataclass
class Worker:
    """The parts of one worker process that are running."""

    settings: Settings
    pool: asyncpg.Pool
    publisher: Publisher
    consumers: list[Consumer] = field(default_factory=list)
    sweepers: list[Sweeper] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self, names: Sequence[str]) -> None:
        """Starts the named consumers."""
        await self.publisher.broker.start()
        for name in names:
            WORKERS[name](self)
        for consumer in self.consumers:
            await consumer.start()
        self.tasks = [asyncio.create_task(sweeper.run_sweeper()) for sweeper in self.sweepers]

    async def serve(self, stop: asyncio.Event) -> None:
        """Returns when told to stop; raises what ended a sweeper, without which lost commands would stay lost."""
        stopped = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait([stopped, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in ended - {stopped}:
            await task

    async def drain(self) -> None:
        """Finishes the commands in work and disconnects."""
        for sweeper in self.sweepers:
            sweeper.stop()
        await asyncio.gather(*(consumer.drain() for consumer in self.consumers), self._end_sweepers())
        await self.publisher.broker.stop()

    async def _end_sweepers(self) -> None:
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=DRAIN)
            for task in late:
                task.cancel()


def _plan(worker: Worker) -> None:
    planner = Planner(worker.settings, worker.pool, worker.publisher)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, PlanBatch), command  # noqa: S101 - another command here is a broken binding
        return await planner.handle(command)

    worker.sweepers += [planner, MergeFollower(worker.settings, worker.pool, worker.publisher)]
    worker.consumers.append(Consumer(worker.settings, "plan", handle, worker.publisher))


def _deliver(worker: Worker) -> None:
    deliverer = Deliverer(worker.settings, worker.pool)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, DeliverChunk), command  # noqa: S101 - another command here is a broken binding
        return await deliverer.handle(command)

    lanes = deliverer.commands_at_once
    worker.consumers.append(Consumer(worker.settings, "deliver", handle, worker.publisher, lanes=lanes))


def _reply(worker: Worker) -> None:
    writer = ReplyWriter(worker.settings, worker.pool, worker.publisher)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, DeliverReply), command  # noqa: S101 - another command here is a broken binding
        return await writer.handle(command)

    worker.sweepers.append(writer)
    worker.consumers.append(Consumer(worker.settings, "reply", handle, worker.publisher))


def _update(worker: Worker) -> None:
    updater = Updater(worker.settings, worker.pool, worker.publisher)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, UpdateConversations), command  # noqa: S101 - another command is a broken binding
        return await updater.handle(command)

    worker.sweepers.append(updater)
    worker.consumers.append(Consumer(worker.settings, "update", handle, worker.publisher))


WORKERS: dict[str, Callable[[Worker], None]] = {"plan": _plan, "deliver": _deliver, "reply": _reply, "update": _update}


async def run(settings: Settings, names: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT, then drains."""
    stop = stop_event()
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings)
        stack.push_async_callback(close_pool, pool)
        worker = Worker(settings, pool, Publisher(settings, "clarion-worker"))
        await worker.start(names)
        log.info("worker_started", consumers=list(names))
        try:
            await worker.serve(stop)
        finally:
            log.info("worker_draining")
            await worker.drain()
