"""Requests at a fixed rate, whatever the answers take: a slow answer does not spare the service the next request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from time import perf_counter


async def paced(ask: Callable[[], Awaitable[None]], *, per_second: float, done: asyncio.Event) -> list[float]:
    """Seconds that each answer took, in no order; the first is asked for at once, and the last before ``done``."""
    seconds: list[float] = []

    async def timed() -> None:
        start = perf_counter()
        await ask()
        seconds.append(perf_counter() - start)

    loop = asyncio.get_running_loop()
    due = loop.time()
    async with asyncio.TaskGroup() as asked:
        while not done.is_set():
            asked.create_task(timed())
            due += 1 / per_second
            await asyncio.sleep(max(due - loop.time(), 0))
    return seconds


async def set_after(seconds: float) -> asyncio.Event:
    """An event that is set so long from now."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    return done


def percentile(seconds: Sequence[float], share: float) -> float:
    """The least of them that so large a share does not exceed."""
    return sorted(seconds)[max(ceil(len(seconds) * share) - 1, 0)]
