"""The cost of a request is its own."""

import asyncio
import time

import pytest

from service.api.metering import Meter, metered


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_only_own_steps_are_counted() -> None:
    busy, idle = Meter(), Meter()
    started, burned = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        await started.wait()
        burn(0.05)
        burned.set()
        return "done"

    async def wait() -> None:
        started.set()
        await burned.wait()

    result, _ = await asyncio.gather(metered(work(), busy), metered(wait(), idle))

    assert result == "done"
    assert 0.05 <= busy.cpu < 0.1
    assert idle.cpu < 0.02


async def test_every_step_is_counted() -> None:
    meter = Meter()

    async def work() -> None:
        burn(0.01)
        await asyncio.sleep(0)
        burn(0.01)

    await metered(work(), meter)

    assert meter.cpu >= 0.02


async def test_errors_pass_through() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await metered(work(), Meter())


async def test_cancellation_reaches_the_work() -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def run() -> None:
        await metered(work(), Meter())

    task = asyncio.create_task(run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert cleaned.is_set()


async def test_the_step_under_way_counts() -> None:
    meter = Meter()

    async def work() -> float:
        burn(0.01)
        return meter.cpu

    assert await metered(work(), meter) >= 0.01
