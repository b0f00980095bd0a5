"""No answer takes longer than it may, and what is answered with 503 has no effect later (CONTRACT 6.20)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api.app import build_app
from service.api.database import connection
from service.api.deadline import Deadline
from service.api.responses import respond
from service.api.routing import register
from service.application.transactions import committed
from service.runtime.postgres import close_pool, create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.databases import with_port
from tests.support.school import School
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.waiting import until

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]
Token = Callable[..., Awaitable[dict[str, str]]]

BUSY = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND query LIKE $1
"""


async def sleep(request: web.Request) -> web.Response:
    """A statement of an hour."""
    async with connection(request) as conn:
        await conn.execute("SELECT pg_sleep(3600)")
    return respond(request, {})


@pytest.fixture
def hasty(edge_settings: Settings) -> Settings:
    """A second for each request."""
    return edge_settings.model_copy(update={"request_timeout": 1.0})


@pytest.fixture
async def pool(hasty: Settings) -> AsyncIterator[asyncpg.Pool]:
    """The gateway's own."""
    made = await create_pool(hasty, within=hasty.request_timeout)
    yield made
    await close_pool(made)


@pytest.fixture
async def client(hasty: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve) -> aiohttp.ClientSession:
    """A session on a gateway in haste."""
    app = build_app(hasty, pool, broker)
    register(app, [web.get("/api/v1/sleep", sleep)])
    return await serve(app)


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """Meanwhile everybody waits who would write to the table."""
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN SHARE MODE")
            yield
    finally:
        await holder.close()


async def refused(answer: aiohttp.ClientResponse) -> bool:
    """Whether it is the answer of a service that cannot do it now."""
    body = await answer.json()
    assert (answer.status, body["errors"][0]["error_code"]) == (503, "service_unavailable")
    return int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("table", ["participants", "conversations", "sends", "throttle_buckets"])
async def test_a_send_that_waits_for_a_lock_is_given_up_and_is_not_there_afterwards(
    client: aiohttp.ClientSession, school: School, token: Token, database_url: str, table: str
) -> None:
    headers, body = await token(school.teacher), {"recipients": [str(school.students[0])], "body": "Hello"}
    async with (
        locked(database_url, table),
        client.post("/api/v1/conversations", headers=headers, json=body) as answer,
    ):
        assert await refused(answer)

    # Nothing goes on behind the answer's back.
    conn = await asyncpg.connect(database_url)
    await until(lambda: idle(conn))
    for written in ("sends", "conversations", "participants", "outbox"):
        assert await conn.fetchval(f"SELECT count(*) FROM {written}") == 0
    await conn.close()


async def idle(conn: asyncpg.Connection) -> bool:
    """Whether the gateway's connections do nothing and hold no transaction open."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'clarion' AND state <> 'idle'"
    )
    return count == 0


async def test_a_database_that_is_busy_with_others_is_503_for_each_who_asks_and_answers_again_afterwards(
    client: aiohttp.ClientSession, pool: asyncpg.Pool, token: Token
) -> None:
    """Every connection that there may be is in use, and stays so; whatever is asked, no answer waits for them."""
    headers = [await token(user) for user in range(7, 12)]
    paths = ["/conversations", "/conversations/unread_count", "/search/recipients?search=a", "/users/self"]
    async with AsyncExitStack() as busy:
        for _ in range(pool.get_max_size()):
            await busy.enter_async_context(pool.acquire())
        asked = [client.get(f"/api/v1{path}", headers=who) for path in paths for who in headers]
        for answer in await asyncio.gather(*asked):
            assert await refused(answer)
        async with client.get("/readyz") as ready:
            assert ready.status == 200  # no database that is away

    async with client.get("/api/v1/conversations", headers=headers[0]) as found:
        assert found.status == 200


async def test_a_statement_that_takes_too_long_is_503(client: aiohttp.ClientSession, token: Token) -> None:
    async with client.get("/api/v1/sleep", headers=await token(7)) as answer:
        assert await refused(answer)


async def test_a_statement_that_an_operator_cancels_is_503(
    edge_settings: Settings,
    broker: Publisher,
    serve: Serve,
    token: Token,
    conn: asyncpg.Connection,
) -> None:
    pool = await create_pool(edge_settings)
    app = build_app(edge_settings, pool, broker)
    register(app, [web.get("/api/v1/sleep", sleep)])
    client, headers = await serve(app), await token(7)

    asked = asyncio.create_task(client.get("/api/v1/sleep", headers=headers))
    await until(lambda: conn.fetchval(BUSY, "SELECT pg_sleep%"))
    await conn.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
    assert await refused(await asked)
    await close_pool(pool)


@pytest.fixture
async def proxy(hasty: Settings) -> AsyncIterator[TcpProxy]:
    """Before the database."""
    (host,) = hasty.database_url.hosts()
    async with tcp_proxy(str(host["host"]), int(host["port"] or 5432)) as made:
        yield made


async def test_a_database_that_falls_silent_is_503_in_time(
    hasty: Settings, proxy: TcpProxy, broker: Publisher, serve: Serve, token: Token
) -> None:
    """Neither a statement nor its cancelling is answered any more."""
    pool = await create_pool(
        hasty.model_copy(update={"database_url": with_port(str(hasty.database_url), proxy.port)}), within=100
    )
    app = build_app(hasty, pool, broker)
    client, headers = await serve(app), await token(7)
    path = "/api/v1/conversations/unread_count"
    async with client.get(path, headers=headers) as answer:
        assert answer.status == 200

    proxy.pause()
    # A second; asyncpg by itself would take five more to give up the cancelling. What a busy machine adds it does not
    # add each time.
    loop, quickest = asyncio.get_running_loop(), inf
    for _ in range(5):
        began = loop.time()
        async with client.get(path, headers=headers) as answer:
            assert await refused(answer)
        quickest = min(quickest, loop.time() - began)
        if quickest < 4:
            break
    assert quickest < 4
    proxy.go_on()

    async with client.get(path, headers=headers) as answer:
        assert answer.status == 200
    await close_pool(pool)


async def test_a_commit_that_has_begun_is_waited_for(conn: asyncpg.Connection, database_url: str) -> None:
    """Out of time in the middle of COMMIT, one would not know what to answer."""
    await conn.execute("""
        CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END $$;
        CREATE TEMPORARY TABLE written (id int);
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION pg_temp.wait();
    """)
    other = await asyncpg.connect(database_url)

    async def step() -> str:
        await conn.execute("INSERT INTO written VALUES (1)")
        return "done"

    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(77)")
        task = asyncio.create_task(committed(conn, step))
        await until(lambda: other.fetchval("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND objid = 77"))
        task.cancel()
        await asyncio.wait({task}, timeout=0)
    assert await task == "done"
    assert await conn.fetchval("SELECT count(*) FROM written") == 1
    await other.close()


async def test_what_does_not_count_is_added_and_a_stop_gives_no_request_more_time() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(3600) as timeout:
        deadline, end = Deadline(timeout, undoing=1), timeout.when()
        assert end is not None

        deadline.hurry(7200)
        assert timeout.when() == end

        began = loop.time()
        with deadline.suspended():
            assert timeout.when() is None
            await until(lambda: loop.time() > began)
        later = timeout.when()
        assert later is not None
        assert later > end

        deadline.hurry(60)
        sooner = timeout.when()
        assert sooner is not None
        assert sooner < end
