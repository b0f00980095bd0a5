"""Event streams of batches, with real processes."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import asyncpg
import psutil
import pytest

from deploy.failure import CannotRun
from service.runtime.notifications import NAME
from service.runtime.settings import Settings
from tests.support.event_streams import Event, EventStream, event_stream
from tests.support.pooler import pgbouncer
from tests.support.processes import Installation, Process, installation
from tests.support.school import School

WATCHERS = 500
MEMORY = 50_000_000  # bytes that they may take


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """For any number of streams at once."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as made:
        yield made


@pytest.fixture
async def teacher(conn: asyncpg.Connection, school: School) -> dict[str, str]:
    """The Authorization header of the school's teacher."""
    await conn.execute(
        "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2)",
        hashlib.sha256(b"teacher").digest(),
        school.teacher,
    )
    return {"Authorization": "Bearer teacher"}


async def send(session: aiohttp.ClientSession, url: str, headers: dict[str, str], school: School) -> str:
    """A bulk send to the whole course; the batch's id."""
    course = f"course_{school.course}"
    message = {"body": "Hello", "group_conversation": True, "bulk_message": True, "mode": "async"}
    path, sent = f"{url}/api/v1/conversations", message | {"recipients": [course], "context_code": course}
    async with session.post(path, headers=headers, json=sent) as answer:
        assert answer.status == 202
        return answer.headers["X-Conversation-Batch-Id"]


def assert_whole(events: list[Event], school: School) -> None:
    """From nothing to everybody, never backwards, each state once; the last one is the end."""
    delivered = [event.batch["delivered"] for event in events]
    assert delivered == sorted(delivered)
    assert delivered[-1] == len(school.students)
    assert [event.name for event in events] == ["progress"] * (len(events) - 1) + ["finished"]
    assert len({event.id for event in events}) == len(events)
    assert events[-1].batch["workflow_state"] == "sent"


async def test_a_send_is_watched_to_its_end_in_every_gateway(
    running: Installation, school: School, session: aiohttp.ClientSession, teacher: dict[str, str]
) -> None:
    """The second is asked by another port; both end with what polling answers."""
    await running.api()
    other = Installation(running.settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(other.close)
        await other.api()
        batch = await send(session, running.url, teacher, school)
        streams = [
            await stack.enter_async_context(event_stream(session, teacher, batch, base=url))
            for url in (running.url, other.url)
        ]
        await running.worker()
        for stream, url in zip(streams, (running.url, other.url), strict=True):
            events = await stream.rest()
            assert_whole(events, school)
            async with session.get(f"{url}/api/v1/conversations/batches/{batch}", headers=teacher) as answer:
                assert events[-1].data == await answer.read()


async def test_streams_end_in_order_when_their_gateway_drains(
    running: Installation, school: School, session: aiohttp.ClientSession, teacher: dict[str, str]
) -> None:
    """And go on where the next gateway is: at the state that was seen last."""
    gateway = await running.api()
    batch = await send(session, running.url, teacher, school)
    async with event_stream(session, teacher, batch, base=running.url) as stream:
        seen = await stream.next()
        assert seen is not None
        ending = asyncio.create_task(gateway.stop(signal.SIGTERM))
        assert await stream.rest() == []
        assert stream.retry is not None
        assert await ending == 0
    await running.api()
    async with event_stream(session, teacher, batch, base=running.url, last=seen.id) as stream:
        again = await stream.next()
        assert again is not None
        assert (again.name, again.id) == ("progress", seen.id)
        await running.worker()
        assert_whole([again, *await stream.rest()], school)


async def test_five_hundred_watchers_take_little_memory_and_no_connection(
    road_settings: Settings,
    school: School,
    session: aiohttp.ClientSession,
    teacher: dict[str, str],
    conn: asyncpg.Connection,
) -> None:
    """One connection listens for all; with one for everything else, requests are answered meanwhile."""
    small = {"throttle_maximum": 0, "database_pool_size": 1}
    async with installation(road_settings.model_copy(update=small)) as running, AsyncExitStack() as stack:
        gateway = await running.api()
        batches = [await send(session, running.url, teacher, school) for _ in range(10)]
        warm = [await stack.enter_async_context(event_stream(session, teacher, batches[0], base=running.url))]
        await warm[0].next()
        before = psutil.Process(gateway.pid).memory_info().rss
        streams: list[EventStream] = []
        for n in range(WATCHERS):
            opening = event_stream(session, teacher, batches[n % 10], base=running.url)
            streams.append(await stack.enter_async_context(opening))
            assert await streams[-1].next() is not None
        await running.worker()
        ends = [(await stream.rest())[-1] for stream in streams]
        taken = psutil.Process(gateway.pid).memory_info().rss - before
        listening = await conn.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", NAME
        )
    assert {event.name for event in ends} == {"finished"}
    assert len({event.id for event in ends}) == len(batches)
    assert listening == 1
    assert taken < MEMORY, taken


@asynccontextmanager
async def pooled(settings: Settings, **more: str) -> AsyncIterator[tuple[Installation, Process]]:
    """An installation behind a pooler, and its gateway; skipped where there is none and none can be installed."""
    try:
        async with pgbouncer(str(settings.database_url)) as url:
            behind = {"database_url": url, "database_statement_cache": 0, "throttle_maximum": 0}
            async with installation(Settings(**settings.model_dump() | behind)) as running:
                yield running, await running.api(**more)
    except CannotRun as error:
        pytest.skip(f"needs PgBouncer: {error}")


async def test_behind_a_pooler_a_direct_connection_listens(
    road_settings: Settings,
    school: School,
    session: aiohttp.ClientSession,
    teacher: dict[str, str],
    conn: asyncpg.Connection,
) -> None:
    async with pooled(road_settings, CLARION_DATABASE_LISTEN_URL=str(road_settings.database_url)) as (running, gateway):
        batch = await send(session, running.url, teacher, school)
        async with event_stream(session, teacher, batch, base=running.url) as stream:
            await gateway.logged('"listening"')
            await running.worker()
            assert_whole(await stream.rest(), school)


async def test_behind_a_pooler_without_one_the_log_says_so_and_the_end_is_seen_all_the_same(
    road_settings: Settings, school: School, session: aiohttp.ClientSession, teacher: dict[str, str]
) -> None:
    async with pooled(road_settings) as (running, gateway):
        batch = await send(session, running.url, teacher, school)
        async with event_stream(session, teacher, batch, base=running.url) as stream:
            await gateway.logged("set CLARION_DATABASE_LISTEN_URL")
            await running.worker()
            assert_whole(await stream.rest(), school)
