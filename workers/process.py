"""``clarion worker``: every consumer, or those that are named, in one process."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
import structlog

from service.contracts.commands import DeliverChunk, DeliverReply, PlanBatch, UpdateConversations
from service.runtime.database_hosts import following
from service.runtime.listening import listening
from service.runtime.postgres import close_pool, create_pool, look_at_schema
from service.runtime.probe_server import ProbeServer
from service.runtime.publisher import Publisher
from service.runtime.readiness import Readiness
from service.runtime.settings import Settings
from service.runtime.signals import stop_event
from service.runtime.topology import Fault
from workers.amqp_requests import RequestConsumer
from workers.audit import Auditor
from workers.batch_update import Updater
from workers.consumer import Consumer
from workers.deliver import Deliverer
from workers.directory import DirectoryConsumer
from workers.figures import Figures
from workers.idempotency_keys import KeySweeper
from workers.merge import MergeSweeper
from workers.plan import Planner
from workers.queue_consumer import DRAIN, QueueConsumer
from workers.relay import Relay
from workers.reply import ReplyWriter
from workers.retention import RetentionSweeper
from workers.schedule import Scheduler
from workers.sweeper import Sweeper
from workers.turns import DueChunks

log = structlog.get_logger(__name__)


@dataclass
class Worker:
    """The running consumers, sweepers and relay of one worker process."""

    settings: Settings
    pool: asyncpg.Pool
    publisher: Publisher
    consumers: list[QueueConsumer] = field(default_factory=list)
    sweepers: list[Sweeper] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def parts(self) -> list[QueueConsumer | Relay]:
        """The parts with a broker connection of their own."""
        return [*self.consumers, *self.relays]

    async def start(self, names: Sequence[str]) -> None:
        """Starts the named consumers."""
        await self.publisher.broker.start()
        for name in names:
            WORKERS[name](self)
        for part in self.parts:
            await part.start()
        self.tasks = [asyncio.create_task(sweeper.run_sweeper()) for sweeper in self.sweepers]
        self.tasks += [asyncio.create_task(relay.run()) for relay in self.relays]

    async def serve(self, stop: asyncio.Event) -> None:
        """Returns when ``stop`` is set; raises what ended a sweeper or relay, without which work is left undone."""
        stopped = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait([stopped, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in ended - {stopped}:
            await task

    async def drain(self) -> None:
        """Finishes the commands in work and disconnects."""
        for sweeper in self.sweepers:
            sweeper.stop()
        await asyncio.gather(*(part.drain() for part in self.parts), self._end_tasks())
        await self.publisher.broker.stop()

    async def _end_tasks(self) -> None:
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=DRAIN)
            for task in late:
                task.cancel()


class Connections:
    """What is known of all connections of a worker to the broker (service/runtime/readiness.py)."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @property
    def connected(self) -> bool:
        """Whether every part can do its work."""
        brokers = [part.publisher.broker if isinstance(part, Relay) else part.broker for part in self._worker.parts]
        return self._worker.publisher.connected and all(broker.connected for broker in brokers)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Exchanges and queues that were not as they should be when last seen."""
        return self._worker.publisher.faults

    async def complaint(self) -> str | None:
        """What keeps commands from being published."""
        return await self._worker.publisher.complaint()


def _plan(worker: Worker) -> None:
    planner = Planner(worker.settings, worker.pool, worker.publisher)
    worker.sweepers += [
        planner,
        DueChunks(worker.settings, worker.pool, worker.publisher),
        MergeSweeper(worker.settings, worker.pool, worker.publisher),
        Scheduler(worker.settings, worker.pool, worker.publisher),
    ]
    worker.consumers.append(Consumer(worker.settings, PlanBatch, planner.handle, worker.publisher))


def _deliver(worker: Worker) -> None:
    deliverer = Deliverer(worker.settings, worker.pool, worker.publisher.command)
    worker.consumers.append(
        Consumer(
            worker.settings,
            DeliverChunk,
            deliverer.handle,
            worker.publisher,
            lanes=deliverer.commands_at_once,
            redelivered=deliverer.redelivered,
            survived=deliverer.survived,
        )
    )


def _reply(worker: Worker) -> None:
    writer = ReplyWriter(worker.settings, worker.pool, worker.publisher)
    worker.sweepers.append(writer)
    worker.consumers.append(
        Consumer(
            worker.settings,
            DeliverReply,
            writer.handle,
            worker.publisher,
            redelivered=writer.redelivered,
            survived=writer.survived,
        )
    )


def _update(worker: Worker) -> None:
    updater = Updater(worker.settings, worker.pool, worker.publisher)
    worker.sweepers.append(updater)
    worker.consumers.append(
        Consumer(
            worker.settings,
            UpdateConversations,
            updater.handle,
            worker.publisher,
            redelivered=updater.redelivered,
            survived=updater.survived,
        )
    )


def _directory(worker: Worker) -> None:
    worker.consumers.append(DirectoryConsumer(worker.settings, worker.pool, worker.publisher))


def _relay(worker: Worker) -> None:
    worker.relays.append(Relay(worker.settings, worker.pool))


def _requests(worker: Worker) -> None:
    worker.sweepers.append(KeySweeper(worker.settings, worker.pool, worker.publisher))
    worker.consumers.append(RequestConsumer(worker.settings, worker.pool, worker.publisher))


def _audit(worker: Worker) -> None:
    worker.sweepers.append(Auditor(worker.settings, worker.pool, worker.publisher))
    worker.sweepers.append(Figures(worker.settings, worker.pool, worker.publisher))


def _retention(worker: Worker) -> None:
    if worker.settings.retention_days:
        worker.sweepers.append(RetentionSweeper(worker.settings, worker.pool, worker.publisher))


WORKERS: dict[str, Callable[[Worker], None]] = {
    "plan": _plan,
    "deliver": _deliver,
    "reply": _reply,
    "update": _update,
    "directory": _directory,
    "relay": _relay,
    "requests": _requests,
    "audit": _audit,
    "retention": _retention,
}


async def run(settings: Settings, names: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT, then drains."""
    stop = stop_event()
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings, for_worker=True)
        stack.push_async_callback(close_pool, pool)
        await stack.enter_async_context(following(str(settings.database_url)))
        await look_at_schema(pool)
        worker = Worker(settings, pool, Publisher(settings, "clarion-worker"))
        readiness = Readiness(settings, Connections(worker), needs_broker=True)
        stack.push_async_callback(readiness.close)
        if settings.worker_port is not None:
            probes = ProbeServer(readiness, "worker")
            stack.push_async_callback(probes.stop)
            with listening(settings.host, settings.worker_port, variable="CLARION_WORKER_PORT"):
                await probes.start(host=settings.host, port=settings.worker_port)
        await worker.start(names)
        log.info("worker_started", consumers=list(names))
        try:
            await worker.serve(stop)
        finally:
            log.info("worker_draining")
            readiness.draining.set()
            await worker.drain()
