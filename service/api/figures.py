"""What a gateway says on /metrics of the installation as a whole: what waits in the database and on the broker."""

import asyncio

from aiohttp import web

from service.api.keys import BROKER, READINESS, SETTINGS, BrokerState
from service.contracts.topology import Topology
from service.runtime import backlog, metrics
from service.runtime.readiness import Readiness
from service.runtime.sampler import Sampler
from service.runtime.settings import Settings

STUCK_INTERVAL = 15.0  # seconds between two looks for what is stuck, the dearest of them


class Figures:
    """Read when somebody asks, over connections that no request waits for."""

    def __init__(self, settings: Settings, readiness: Readiness, broker: BrokerState) -> None:
        self._retry_after = settings.retry_after
        self._readiness = readiness
        self._broker = broker
        self._queues = [queue.name for queue in Topology(settings.amqp_prefix).queues]
        self._counted: set[str] = set()
        every = settings.sweep_interval
        self._samplers = (
            Sampler("backlog", self._read_backlog, backlog.forget_backlog, every=every),
            Sampler("stuck", self._read_stuck, backlog.forget_stuck, every=max(every, STUCK_INTERVAL)),
            Sampler("queues", self._read_queues, self._forget_queues, every=every),
        )

    async def renew(self) -> None:
        """Sets all figures that are not counted where things happen; takes a few seconds at most."""
        await asyncio.gather(self._readiness.count(), *(sampler.renew() for sampler in self._samplers))

    async def close(self) -> None:
        """Reads no more."""
        await asyncio.gather(*(sampler.close() for sampler in self._samplers))

    async def _read_backlog(self) -> None:
        async with self._readiness.connection() as conn:
            await backlog.show_backlog(conn)
            await backlog.show_outbox_lag(conn)

    async def _read_stuck(self) -> None:
        async with self._readiness.connection() as conn:
            await backlog.show_stuck(conn, retry_after=self._retry_after)

    async def _read_queues(self) -> None:
        self._counted.clear()
        for queue in self._queues:
            count = await self._broker.count_queue(queue)
            metrics.QUEUE_MESSAGES.labels(queue).set(metrics.UNKNOWN if count is None else count.messages)
            metrics.QUEUE_CONSUMERS.labels(queue).set(metrics.UNKNOWN if count is None else count.consumers)
            self._counted.add(queue)

    def _forget_queues(self) -> None:
        """A queue that keeps the broker from answering hides only itself and those behind it."""
        for queue in set(self._queues) - self._counted:
            metrics.QUEUE_MESSAGES.labels(queue).set(metrics.UNKNOWN)
            metrics.QUEUE_CONSUMERS.labels(queue).set(metrics.UNKNOWN)


FIGURES = web.AppKey("figures", Figures)


def set_up(app: web.Application) -> None:
    """Reads from when it is first asked until the application ends."""
    app[FIGURES] = Figures(app[SETTINGS], app[READINESS], app[BROKER])
    app.on_cleanup.append(_close)


async def _close(app: web.Application) -> None:
    await app[FIGURES].close()
