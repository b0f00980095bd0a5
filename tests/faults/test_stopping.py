"""SIGTERM: what is in work is finished, what is not goes back, and the process ends with 0."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.broker import broker_client
from tests.support.fault_environment import FaultEnvironment, logged
from tests.support.waiting import until


@asynccontextmanager
async def writers_blocked(there: FaultEnvironment) -> AsyncIterator[asyncio.Event]:
    """Meanwhile every writer waits for a lock, until the event is set."""
    release = asyncio.Event()

    async def hold(held: asyncio.Event) -> None:
        async with there.look() as conn, conn.transaction():
            await conn.execute("LOCK TABLE conversations IN SHARE MODE")
            held.set()
            await release.wait()

    held = asyncio.Event()
    holding = asyncio.create_task(hold(held))
    await held.wait()
    try:
        yield release
    finally:
        release.set()
        await holding


IN_FLIGHT = 2  # chunks

ONE_WAITS = """
    SELECT count(*) = $1 FROM pg_locks
    WHERE NOT granted AND relation = 'conversations'::regclass
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
SOME_WAIT = ONE_WAITS.replace("= $1", "> 0")


async def test_a_worker_asked_to_stop_finishes_its_chunk_and_leaves_the_rest(there: FaultEnvironment) -> None:
    there.running.settings = there.running.settings.model_copy(update={"batch_chunks_in_flight": IN_FLIGHT})
    there.running.fresh = True
    await there.running.api()
    worker = await there.running.worker()

    async with writers_blocked(there) as release:
        await there.send(there.bulk())
        await there.until(SOME_WAIT)
        stopped = asyncio.create_task(worker.stop(signal.SIGTERM))
        await worker.logged("worker_draining")
        release.set()
        assert await stopped == 0

    # What was in work, and no more; it was waited for, and for nothing else.
    assert not logged(worker, "work_abandoned")
    delivered = len(logged(worker, "chunk_delivered"))
    assert 1 <= delivered <= IN_FLIGHT
    async with there.look() as conn:
        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE state = 'delivered'") == delivered
        chunks = await conn.fetchval("SELECT count(*) FROM chunks")
    async with broker_client(there.running.settings) as observer:
        await observer.waiting("deliver", min(IN_FLIGHT, chunks - delivered))
    await there.running.worker()
    await there.assert_all_sent()


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_a_gateway_asked_to_stop_answers_what_it_has_begun(there: FaultEnvironment, mode: str) -> None:
    there.running.fresh = True
    gateway = await there.running.api()
    body = there.bulk(mode=mode)
    if mode == "async":
        await there.running.worker()

    async with writers_blocked(there) as release:
        if mode == "async":
            async with there.look() as conn, conn.transaction():
                await conn.execute("LOCK TABLE batches IN SHARE MODE")
                request = asyncio.create_task(there.teacher.call("POST", "/conversations", json=body))
                await there.until(ONE_WAITS.replace("'conversations'", "'batches'"), 1)
                stopped = asyncio.create_task(gateway.stop(signal.SIGTERM))
                await gateway.logged("api_draining")
        else:
            request = asyncio.create_task(there.teacher.call("POST", "/conversations", json=body))
            await there.until(ONE_WAITS, 1)
            stopped = asyncio.create_task(gateway.stop(signal.SIGTERM))
            await gateway.logged("api_draining")
        release.set()
        status, _, _ = await request
        assert await stopped == 0

    assert status == (202 if mode == "async" else 201)
    await there.assert_all_sent()


async def test_a_gateway_says_that_it_will_stop_before_it_does(there: FaultEnvironment) -> None:
    """Meanwhile it answers, and ends each connection with the answer; a balancer has time to notice."""
    gateway = await there.running.api(CLARION_DRAIN_DELAY="3600")
    stopped = asyncio.create_task(gateway.stop(signal.SIGTERM))
    await gateway.logged("api_draining")

    async def draining() -> bool:
        status, answer, headers = await there.readiness()
        return bool((status, answer.get("failing"), headers.get("Connection")) == (503, ["draining"], "close"))

    await until(draining)
    for _ in range(3):
        status, _, headers = await there.teacher.call("GET", "/conversations")
        assert (status, headers["Connection"]) == (200, "close")
    assert not stopped.done()
    assert await gateway.stop(signal.SIGKILL) != 0
    await stopped


async def test_a_gateway_stops_although_a_request_hangs_in_the_database(there: FaultEnvironment) -> None:
    """It is given up, answered so, and has no effect."""
    gateway = await there.running.api()
    async with writers_blocked(there):
        request = asyncio.create_task(there.teacher.call("POST", "/conversations", json=there.bulk(mode="sync")))
        await there.until(ONE_WAITS, 1)
        assert await gateway.stop(signal.SIGTERM) == 0
        status, _, headers = await request
        assert (status, headers["Connection"]) == (503, "close")
        assert int(headers["Retry-After"]) > 0
        await there.until(ONE_WAITS, 0)
    async with there.look() as conn:
        assert await conn.fetchval("SELECT count(*) FROM sends") == 0
