"""A worker that is killed in the middle of an audit: what was lost is written once, by the others."""

import json
import signal

from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.fault_environment import FaultEnvironment, logged

LOST = 7  # of one chunk each
WAITS = (
    "SELECT count(*) > 0 FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'clarion' AND wait_event_type = 'Lock'"
)


async def test_what_was_lost_is_written_once_though_auditors_are_killed(there: FaultEnvironment) -> None:
    """The first one waits for the outbox when it has written one copy, and is killed there."""
    await there.running.api()
    sender = await there.running.start("worker", "--only", "plan", "--only", "deliver")
    batch = await there.send(there.bulk())
    await there.assert_all_sent()
    await sender.stop()
    async with there.look() as holder:
        await holder.execute(
            "DELETE FROM participants WHERE user_id IN (SELECT recipients[1] FROM chunks ORDER BY position LIMIT $1)",
            LOST,
        )
        async with holder.transaction():
            await holder.execute("LOCK TABLE outbox IN SHARE MODE")
            victim = await there.running.start("worker", "--only", "audit")
            await there.until(WAITS)
            await victim.stop(signal.SIGKILL)
        assert await holder.fetchval("SELECT max(position) FROM audits") in (None, -1)

    auditors = [await there.running.start("worker", "--only", "audit") for _ in range(2)]

    await there.until("SELECT audited_end = finished_at FROM batches")
    for auditor in auditors:
        await auditor.stop()
    repaired = [json.loads(line)["recipients"] for auditor in auditors for line in logged(auditor, "audit_repaired")]
    assert sum(repaired) == LOST
    async with there.look() as conn:
        await assert_delivered_once(conn, batch, there.school.students)
