"""The pace of a sender, by real workers: a minute has as many recipients as the setting says."""

import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg

from tests.support.institution import Institution
from tests.support.processes import Client, Installation
from tests.support.school import make_school
from tests.support.waiting import until

A_MINUTE = 1200  # recipients: twenty a second
SECONDS = 8


async def test_a_pace_is_kept_by_two_workers_of_which_one_is_killed(
    conn: asyncpg.Connection, running: Installation, as_user: Callable[[int], Awaitable[Client]]
) -> None:
    institution = Institution(conn)
    await institution.account(name="Root")
    school = await make_school(institution, A_MINUTE * (SECONDS + 1) // 60)
    pace = {"CLARION_SENDER_RECIPIENTS_PER_MINUTE": str(A_MINUTE)}
    await running.api(**pace)
    workers = [await running.worker(**pace) for _ in range(2)]
    teacher = await as_user(school.teacher)

    status, _, headers = await teacher.call(
        "POST",
        "/conversations",
        json={
            "recipients": [f"course_{school.course}_students"],
            "context_code": f"course_{school.course}",
            "body": "We meet at nine.",
            "group_conversation": True,
            "bulk_message": True,
        },
    )
    assert status == 202  # although it did not ask for that: they do not have it at once
    batch_id = int(headers["X-Conversation-Batch-Id"])

    async def delivered(share: float) -> bool:
        return bool(
            await conn.fetchval("SELECT delivered >= total * $2::float8 FROM batches WHERE id = $1", batch_id, share)
        )

    await until(lambda: delivered(0.4))
    await workers[0].stop(signal.SIGKILL)
    _, shown, _ = await teacher.call("GET", f"/conversations/batches/{batch_id}")
    assert 0.5 * A_MINUTE / 60 <= shown["recipients_per_second"] <= 1.5 * A_MINUTE / 60
    await until(lambda: delivered(1))

    rows = await conn.fetch("SELECT size, updated_at FROM chunks WHERE batch_id = $1 ORDER BY updated_at", batch_id)
    assert [row["size"] for row in rows] == [A_MINUTE // 60] * (SECONDS + 1)
    first, last = rows[0]["updated_at"], rows[-1]["updated_at"]
    accepted = await conn.fetchval("SELECT created_at FROM batches WHERE id = $1", batch_id)
    # The first delivery may be late on a busy machine; the last one is never early.
    assert last - accepted >= timedelta(seconds=SECONDS * 0.95)
    assert last - first <= timedelta(seconds=SECONDS + 0.7)
