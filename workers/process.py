"""``clarion worker``: every consumer, or those asked for, in one process."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
import structlog

from service.contracts.commands import AnyCommand, DeliverChunk, DeliverReply, PlanBatch, UpdateConversations
from service.contracts.topology import Topology
from service.runtime.postgres import close_pool, create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.signals import stop_event
from workers.amqp_requests import KeySweeper, RequestConsumer
from workers.batch_consumer import Gatherer
from workers.batch_update import Updater
from workers.consumer import DRAIN, Consumer, Receiver
from workers.deliver import Deliverer
from workers.directory import SET_SIZE, Follower
from workers.merge import MergeFollower
from workers.outcome import Verdict
from workers.plan import Planner
from workers.relay import Relay
from workers.reply import ReplyWriter
from workers.sweeper import Sweeper

log = structlog.get_logger(__name__)


@dataclass
class Worker:
    """The parts of one worker process that are running."""

    settings: Settings
    pool: asyncpg.Pool
    publisher: Publisher
    consumers: list[Receiver | Gatherer] = field(default_factory=list)
    sweepers: list[Sweeper] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self, names: Sequence[str]) -> None:
        """Starts the named consumers."""
        await self.publisher.broker.start()
        for name in names:
            WORKERS[name](self)
        for part in (*self.consumers, *self.relays):
            await part.start()
        self.tasks = [asyncio.create_task(sweeper.run_sweeper()) for sweeper in self.sweepers]
        self.tasks += [asyncio.create_task(relay.run()) for relay in self.relays]

    async def serve(self, stop: asyncio.Event) -> None:
        """Returns when told to stop; raises what ended a sweeper or relay, without which much would stay untold."""
        stopped = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait([stopped, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in ended - {stopped}:
            await task

    async def drain(self) -> None:
        """Finishes the commands in work and disconnects."""
        for sweeper in self.sweepers:
            sweeper.stop()
        await asyncio.gather(*(part.drain() for part in (*self.consumers, *self.relays)), self._end_tasks())
        await self.publisher.broker.stop()

    async def _end_tasks(self) -> None:
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

    async def returned(command: AnyCommand) -> Verdict | None:
        assert isinstance(command, DeliverChunk), command  # noqa: S101 - as above
        return await deliverer.returned(command)

    lanes = deliverer.commands_at_once
    worker.consumers.append(
        Consumer(worker.settings, "deliver", handle, worker.publisher, lanes=lanes, returned=returned)
    )


def _reply(worker: Worker) -> None:
    writer = ReplyWriter(worker.settings, worker.pool, worker.publisher)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, DeliverReply), command  # noqa: S101 - another command here is a broken binding
        return await writer.handle(command)

    async def returned(command: AnyCommand) -> Verdict | None:
        assert isinstance(command, DeliverReply), command  # noqa: S101 - as above
        return await writer.returned(command)

    worker.sweepers.append(writer)
    worker.consumers.append(Consumer(worker.settings, "reply", handle, worker.publisher, returned=returned))


def _update(worker: Worker) -> None:
    updater = Updater(worker.settings, worker.pool, worker.publisher)

    async def handle(command: AnyCommand) -> Verdict:
        assert isinstance(command, UpdateConversations), command  # noqa: S101 - another command is a broken binding
        return await updater.handle(command)

    async def returned(command: AnyCommand) -> Verdict | None:
        assert isinstance(command, UpdateConversations), command  # noqa: S101 - as above
        return await updater.returned(command)

    worker.sweepers.append(updater)
    worker.consumers.append(Consumer(worker.settings, "update", handle, worker.publisher, returned=returned))


def _directory(worker: Worker) -> None:
    queue = Topology(worker.settings.amqp_prefix).directory
    handle = Follower(worker.pool).handle
    worker.consumers.append(Gatherer(worker.settings, "directory", queue, handle, worker.publisher, set_size=SET_SIZE))


def _relay(worker: Worker) -> None:
    worker.relays.append(Relay(worker.settings, worker.pool))


def _requests(worker: Worker) -> None:
    worker.sweepers.append(KeySweeper(worker.settings, worker.pool, worker.publisher))
    worker.consumers.append(RequestConsumer(worker.settings, worker.pool, worker.publisher))


WORKERS: dict[str, Callable[[Worker], None]] = {
    "plan": _plan,
    "deliver": _deliver,
    "reply": _reply,
    "update": _update,
    "directory": _directory,
    "relay": _relay,
    "requests": _requests,
}


async def run(settings: Settings, names: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT, then drains."""
    stop = stop_event()
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings, plan_once=True)
        stack.push_async_callback(close_pool, pool)
        worker = Worker(settings, pool, Publisher(settings, "clarion-worker"))
        await worker.start(names)
        log.info("worker_started", consumers=list(names))
        try:
            await worker.serve(stop)
        finally:
            log.info("worker_draining")
            await worker.drain()
