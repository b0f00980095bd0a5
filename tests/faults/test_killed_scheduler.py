"""Sends that start later, with workers that are killed: each starts once, and nobody is left out or has two copies."""

import asyncio
import random
import signal
from datetime import timedelta
from functools import partial

import asyncpg

from tests.support.chance import as_often
from tests.support.fault_environment import FaultEnvironment
from tests.support.waiting import until

ROUNDS = as_often(6)


async def _now(there: FaultEnvironment, **ahead: float) -> str:
    """By the database's clock."""
    async with there.look() as conn:
        moment = await conn.fetchval("SELECT now() + $1::interval", timedelta(**ahead))
    return str(moment.isoformat())


async def _waits(conn: asyncpg.Connection) -> bool:
    found: bool = await conn.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'clarion' AND wait_event_type = 'Lock'"
    )
    return found


async def test_a_worker_that_is_killed_in_the_middle_of_a_start_has_started_nothing(there: FaultEnvironment) -> None:
    """It waits for the table of chunks, when the message is stored already."""
    await there.running.api()
    await there.send(there.bulk(send_at=await _now(there, seconds=1)))
    async with there.look() as holder:
        async with holder.transaction():
            await holder.execute("LOCK TABLE chunks IN SHARE MODE")
            first = await there.running.worker()
            await until(partial(_waits, holder))
            await first.stop(signal.SIGKILL)
        assert await holder.fetchval("SELECT state FROM batches") == "scheduled"

    await there.running.worker()

    await there.assert_all_sent()
    await _assert_started_once(there, 1)


async def _assert_started_once(there: FaultEnvironment, batches: int) -> None:
    """Not before its time; by now no request is kept any more."""
    async with there.look() as conn:
        assert await conn.fetchval("SELECT count(*) FROM batches WHERE state = 'sent'") == batches
        assert await conn.fetchval("SELECT count(*) FROM scheduled_sends") == 0
        early = "SELECT count(*) FROM batches b JOIN sends s ON s.id = b.send_id WHERE s.created_at < b.send_at"
        assert await conn.fetchval(early) == 0


async def test_sends_start_once_while_workers_are_killed_at_any_moment(
    there: FaultEnvironment, chance: random.Random
) -> None:
    await there.running.api()
    workers = [await there.running.worker() for _ in range(2)]
    for _ in range(ROUNDS):
        await there.send(there.bulk(send_at=await _now(there, seconds=chance.uniform(0.5, 3))))

    for started in (1, ROUNDS // 2):
        victim = chance.randrange(len(workers))
        await there.until("SELECT count(*) >= $1 FROM batches WHERE state <> 'scheduled'", started)
        await asyncio.sleep(chance.uniform(0, 0.05))
        await workers[victim].stop(signal.SIGKILL)
        workers[victim] = await there.running.worker()

    await there.assert_all_sent()
    await _assert_started_once(there, ROUNDS)


async def test_what_fell_due_while_no_worker_ran_starts_with_the_first(there: FaultEnvironment) -> None:
    await there.running.api()
    await there.send(there.bulk(send_at=await _now(there, seconds=1)))
    await there.until("SELECT send_at < now() FROM batches")
    async with there.look() as conn:
        assert await conn.fetchval("SELECT state FROM batches") == "scheduled"

    await there.running.worker()

    await there.assert_all_sent()
    await _assert_started_once(there, 1)
