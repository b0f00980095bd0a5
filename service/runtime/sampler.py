"""Figures that are read when they are asked for, at a bounded cost however often that is."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

PATIENCE = 1.0  # seconds that one reading has; half of what a probe gives the database


class Sampler:
    """``read`` sets the figures, ``forget`` marks as unknown what a reading that failed has not set.

    They are read once for all who ask at a time, and not again within ``every`` seconds.
    """

    def __init__(
        self, source: str, read: Callable[[], Awaitable[None]], forget: Callable[[], None], *, every: float
    ) -> None:
        self._source = source
        self._read = read
        self._forget = forget
        self._every = every
        self._due = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def renew(self) -> None:
        """Returns when the figures are known, or marked as unknown: after PATIENCE at most.

        After a failure it returns at once, and the next reading goes on behind: what is away holds up no answer twice.
        """
        if self._task is None and asyncio.get_running_loop().time() >= self._due:
            self._task = asyncio.create_task(self._sample())
        if self._task is not None and not self._failing:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Reads no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _sample(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._read()
        except Exception as error:
            # Whatever it was, yesterday's figures must not pass for today's.
            self._forget()
            if not self._failing:
                log.warning("figures_unknown", source=self._source, error=str(error) or type(error).__name__)
            self._failing = True
        else:
            if self._failing:
                log.info("figures_known", source=self._source)
            self._failing = False
        finally:
            self._due = asyncio.get_running_loop().time() + self._every
            self._task = None
