"""A worker that is frozen in the middle of a transaction (SIGSTOP, a paused virtual machine) holds a batch's row."""

import signal
from functools import partial

import asyncpg

from tests.support.fault_environment import FaultEnvironment
from tests.support.waiting import until


async def _sessions(conn: asyncpg.Connection, what: str) -> bool:
    """Whether one session of Clarion's in this database is in that condition."""
    found: bool = await conn.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        f" WHERE datname = current_database() AND application_name = 'clarion' AND {what}"
    )
    return found


async def _sent(conn: asyncpg.Connection, batch: int) -> bool:
    return bool(await conn.fetchval("SELECT state = 'sent' FROM batches WHERE id = $1", batch))


async def test_a_batch_that_is_held_is_put_off_and_delays_no_other(there: FaultEnvironment) -> None:
    """For as long as the other transaction holds its row, which a frozen worker's does."""
    there.running.settings = there.running.settings.model_copy(update={"chunk_size": 1000})
    await there.running.api()
    held = await there.send(there.bulk(subject="Held"))

    async with there.look() as conn, there.look() as holder:
        async with holder.transaction():
            await holder.execute("SELECT FROM batches WHERE id = $1 FOR UPDATE", held)
            worker = await there.running.worker()
            await worker.logged("work_blocked")
            other = await there.send(there.bulk(subject="Passes"))
            await until(partial(_sent, conn, other))
            assert not await _sent(conn, held)
        await until(partial(_sent, conn, held))
        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE attempts > 0") == 0
    await there.assert_all_sent()


async def test_a_frozen_worker_loses_its_locks_and_nothing_else(there: FaultEnvironment) -> None:
    """Its session is ended, and others go on with its batch."""
    await there.running.api()
    frozen = await there.running.worker()
    await there.send(there.private(subject="So that threads are reused"))
    await there.assert_all_sent()

    async with there.look() as conn, there.look() as holder:
        # It waits for a thread's row when it is stopped, and has the batch's when it is given the row.
        async with holder.transaction():
            await holder.execute("SELECT FROM participants FOR UPDATE")
            held = await there.send(there.private(subject="Held"))
            await until(partial(_sessions, conn, "state = 'active' AND wait_event_type = 'Lock'"))
            frozen.signal(signal.SIGSTOP)
        await until(partial(_sessions, conn, "state = 'idle in transaction'"))

        await there.running.worker()
        await until(partial(_sent, conn, held))
        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE attempts > 0") == 0
    await there.assert_all_sent()
    await frozen.stop(signal.SIGKILL)
