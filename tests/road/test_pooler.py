"""The whole service behind PgBouncer in transaction mode, as deploy/env.example describes it."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest

from deploy.failure import CannotRun
from service.runtime.postgres import close_pool, create_pool
from service.runtime.settings import Settings
from sql.verification import count_copies
from tests.support.conversations import Threads
from tests.support.pooler import pgbouncer
from tests.support.processes import Client, installation
from tests.support.school import School


@pytest.fixture
async def pooled(settings: Settings) -> AsyncIterator[Settings]:
    """The test's settings behind the pooler; skipped where there is none and none can be installed."""
    try:
        async with pgbouncer(str(settings.database_url)) as url:
            yield Settings(
                database_url=url,
                amqp_url=settings.amqp_url,
                amqp_prefix=settings.amqp_prefix,
                database_statement_cache=0,
                chunk_size=20,
                throttle_maximum=0,
            )
    except CannotRun as error:
        pytest.skip(f"needs PgBouncer: {error}")


async def test_requests_and_a_bulk_send_pass_the_pooler(
    pooled: Settings, school: School, threads: Threads, conn: asyncpg.Connection
) -> None:
    """Many more at once than the pooler has connections."""
    for student in school.students[:5]:
        await threads.private(student, school.teacher)
    await conn.execute(
        "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2)",
        hashlib.sha256(b"token").digest(),
        school.teacher,
    )
    course = f"course_{school.course}"
    message = {"body": "Hello", "group_conversation": True, "bulk_message": True, "mode": "async"}
    async with installation(pooled) as running, aiohttp.ClientSession() as session:
        await running.api()
        await running.worker()
        teacher = Client(session, running.url, "token")

        answers = await asyncio.gather(*(teacher.call("GET", "/conversations") for _ in range(200)))
        _, _, headers = await teacher.call(
            "POST", "/conversations", json=message | {"recipients": [course], "context_code": course}
        )
        batch = await teacher.sent(headers["X-Conversation-Batch-Id"])

    assert Counter((status, len(body)) for status, body, _ in answers) == {(200, 5): 200}
    assert batch["workflow_state"] == "sent"
    found = await count_copies(conn, batch["id"])
    assert (found.recipients, found.duplicates, found.missing) == (len(school.students), 0, 0)


async def test_a_session_has_its_settings_only_where_it_is_ones_own(settings: Settings, pooled: Settings) -> None:
    """What is set behind a pooler would be another process's in the next transaction."""
    found = []
    for place in (settings, pooled):
        pool = await create_pool(place, for_worker=True)
        async with pool.acquire() as own:
            found.append(
                await own.fetchval(
                    "SELECT array_agg(current_setting(name) ORDER BY name)"
                    " FROM unnest('{jit,plan_cache_mode,idle_in_transaction_session_timeout}'::text[]) AS name"
                )
            )
        await close_pool(pool)
    assert found == [["5s", "off", "force_generic_plan"], ["0", "on", "auto"]]
