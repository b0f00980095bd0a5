"""A worker that is frozen in the middle of a transaction (SIGSTOP, a paused virtual machine) holds a batch's row."""

import signal
from functools import partial

import asyncpg

from tests.support.fault_environment import FaultEnvironment
from tests.support.waiting import until

# Less than the minute for which the server would wait for a session that is not a worker's.
WITHIN = 45.0


async def _sessions(conn: asyncpg.Connection, what: str) -> bool:
    """Whether one session of Clarion's in this database is in that condition."""
    found: bool = await conn.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        f" WHERE datname = current_database() AND application_name = 'clarion' AND {what}"
    )
    return found


async def test_a_frozen_worker_delays_its_own_batch_for_seconds_and_no_other(there: FaultEnvironment) -> None:
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
        other = await there.send(there.bulk(subject="Passes"))
        await there.until("SELECT state = 'sent' FROM batches WHERE id = $1", other, within=WITHIN)
        await there.until("SELECT state = 'sent' FROM batches WHERE id = $1", held, within=WITHIN)

        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE attempts > 0") == 0
    await there.assert_all_sent()
    await frozen.stop(signal.SIGKILL)
