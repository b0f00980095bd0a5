"""Sweepers: what is committed and not done in time is commanded again, so that a command may be lost."""

import asyncio
from abc import ABC, abstractmethod

import asyncpg
import structlog

from service.contracts.commands import AnyCommand
from service.runtime import metrics
from service.runtime.broker import BrokerUnavailable
from service.runtime.postgres import UNAVAILABLE
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import continued

log = structlog.get_logger(__name__)

SWEEP_LIMIT = 2000  # rows a sweep takes at once


class Sweeper(ABC):
    """Sweeps every ``sweep_interval`` until stopped; at once again after a sweep of SWEEP_LIMIT rows."""

    needs_broker = True  # a sweep without it would come to nothing

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._interval = settings.sweep_interval
        self._publisher = publisher
        self._stopping = asyncio.Event()

    @abstractmethod
    async def sweep(self) -> int:
        """Publishes commands for what is due, SWEEP_LIMIT at most; returns how many."""

    async def _repeat(self, command: AnyCommand, traceparent: str | None) -> None:
        """Publishes the command in the trace of what it is for; BrokerUnavailable when it was not confirmed."""
        with continued(traceparent):
            await self._publisher.command(command)

    async def run_sweeper(self) -> None:
        """Returns when stopped.

        An error of the database or the broker is logged, and the next sweep tries again. Any other error is raised.
        """
        failed = metrics.SWEEPS_FAILED.labels(type(self).__name__)
        while not self._stopping.is_set():
            try:
                swept = await self.sweep() if self._publisher.connected or not self.needs_broker else 0
            except (asyncpg.PostgresError, *UNAVAILABLE, BrokerUnavailable) as error:
                failed.inc()
                log.warning("sweep_failed", error=str(error) or type(error).__name__)
                swept = 0
            if swept < SWEEP_LIMIT:
                await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), self._interval)
        except TimeoutError:
            return

    def stop(self) -> None:
        """Ends run_sweeper after the sweep in work."""
        self._stopping.set()
