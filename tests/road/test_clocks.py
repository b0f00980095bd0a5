"""Processes whose clocks are an hour wrong: nothing that is stored, compared or shown follows them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import asyncpg

from tests.support.conversations import Threads
from tests.support.processes import Client, Installation
from tests.support.school import School
from tests.support.wrong_clock import wrong_clock

AsUser = Callable[[int], Awaitable[Client]]
HOUR = 3600.0
HOURS = ("+ interval '1 h'", "- interval '1 h'")
_COLUMNS = """
SELECT c.relname, a.attname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'schema%'
  AND a.atttypid = 'timestamptz'::regtype AND a.attnum > 0 AND NOT a.attisdropped
"""


async def wrong_times(conn: asyncpg.Connection) -> list[str]:
    """Columns of all tables that hold a moment about an hour from now."""
    found = []
    for table, column in await conn.fetch(_COLUMNS):
        about = " OR ".join(
            f"{column} BETWEEN now() {hour} - interval '10 min' AND now() {hour} + interval '10 min'" for hour in HOURS
        )
        if await conn.fetchval(f"SELECT count(*) FROM {table} WHERE {about}"):
            found.append(f"{table}.{column}")
    return found


async def test_all_times_are_the_databases(
    running: Installation, school: School, threads: Threads, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    group = await threads.group(school.teacher, school.students[:110])
    small = await threads.group(school.teacher, school.students[:2])
    course = f"course_{school.course}"
    with wrong_clock(HOUR) as early, wrong_clock(-HOUR) as late:
        running.fresh = True  # the clock is set before anything is imported
        await running.api(**early)
        teacher = await as_user(school.teacher)
        await conn.execute("UPDATE access_tokens SET expires_at = now() + interval '9 min'")
        to_all = {
            "recipients": [course],
            "context_code": course,
            "body": "To all",
            "group_conversation": True,
            "bulk_message": True,
            "mode": "async",
        }
        _, _, headers = await teacher.call("POST", "/conversations", json=to_all)
        one = {"recipients": [str(school.students[0])], "body": "To one"}
        status, (private,), _ = await teacher.call("POST", "/conversations", json=one)
        assert status == 201
        for conversation in (group, small):
            status, _, _ = await teacher.call(
                "POST", f"/conversations/{conversation}/add_message", json={"body": "Reply"}
            )
            assert status in (200, 202)
        update = {"conversation_ids": [group, small], "event": "star"}
        status, progress, _ = await teacher.call("PUT", "/conversations", json=update)
        await teacher.call("PUT", f"/conversations/{small}", json={"conversation": {"starred": True}})
        message = private["messages"][0]["id"]
        await teacher.call("POST", f"/conversations/{private['id']}/remove_messages", json={"remove": [message]})
        assert await wrong_times(conn) == []

        await running.worker(**late)
        batch = await teacher.sent(headers["X-Conversation-Batch-Id"])

    assert await wrong_times(conn) == []
    moments = [datetime.fromisoformat(batch[name]) for name in ("created_at", "started_at", "finished_at")]
    assert moments == sorted(moments)
    assert batch["recipients_per_second"] > 0
    assert progress["created_at"] is not None


async def test_a_send_starts_when_the_databases_time_has_come(
    running: Installation, school: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """To the gateway its time was over, to the worker it is far off."""
    with wrong_clock(HOUR) as early, wrong_clock(-HOUR) as late:
        await running.api(**early)
        await running.worker(**late)
        teacher = await as_user(school.teacher)
        later = {"recipients": [str(school.students[0])], "body": "Later"}
        now = await conn.fetchval("SELECT now()")
        soon, past = now + timedelta(seconds=2), now - timedelta(seconds=1)

        status, _, headers = await teacher.call("POST", "/conversations", json=later | {"send_at": soon.isoformat()})
        assert status == 202
        status, _, _ = await teacher.call("POST", "/conversations", json=later | {"send_at": past.isoformat()})
        assert status == 400
        await teacher.sent(headers["X-Conversation-Batch-Id"])

    assert await conn.fetchval(
        "SELECT bool_and(s.created_at >= b.send_at AND b.started_at >= b.send_at)"
        " FROM batches b JOIN sends s ON s.id = b.send_id"
    )
    assert await wrong_times(conn) == []


async def test_an_expired_token_is_refused_by_a_process_that_is_late(
    running: Installation, school: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    with wrong_clock(-HOUR) as late:
        running.fresh = True
        await running.api(**late)
        teacher = await as_user(school.teacher)
        await conn.execute("UPDATE access_tokens SET expires_at = now() - interval '1 min'")

        status, _, _ = await teacher.call("GET", "/conversations/unread_count")

    assert status == 401
