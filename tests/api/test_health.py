"""What the gateway says of its own state."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api import observation
from service.api.app import build_app
from service.api.keys import READINESS
from service.runtime.postgres import create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import migrate
from tests.support.batches import SENDER, Batches
from tests.support.broker import broker_client
from tests.support.databases import server_url, with_database
from tests.support.figures import growth
from tests.support.gateway import Api, publishing, publishing_nowhere
from tests.support.ledger import new_prefix
from tests.support.processes import free_port
from tests.support.waiting import until

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]

NO_DATABASE = "postgresql://unknown@127.0.0.1:1/none"


async def test_it_is_alive(client: aiohttp.ClientSession) -> None:
    async with client.get("/livez") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_it_is_ready_when_both_servers_answer(client: aiohttp.ClientSession) -> None:
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def failing(client: aiohttp.ClientSession) -> list[str]:
    async with client.get("/readyz") as answer:
        assert answer.status == 503
        found: list[str] = (await answer.json())["failing"]
        return found


WITHOUT_BROKER = {"status": "degraded", "degraded": ["broker"], "broker": "not connected"}


async def degraded(client: aiohttp.ClientSession, part: str = "broker") -> bool:
    """What the metric says."""
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    (line,) = [line for line in lines if line.startswith(f'clarion_degraded{{part="{part}"}}')]
    return float(line.split()[-1]) == 1


async def test_it_is_ready_without_the_broker_and_says_so(settings: Settings, pool: asyncpg.Pool, serve: Serve) -> None:
    async with publishing_nowhere(settings) as broker:
        client = await serve(build_app(settings, pool, broker))

        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, WITHOUT_BROKER)
        assert await degraded(client)


async def test_it_is_degraded_as_long_as_the_broker_is_gone(api: Api) -> None:
    assert not await degraded(api.session)
    await api.broker.broker.stop()
    async with api.session.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, WITHOUT_BROKER)

    await api.broker.broker.start()
    await until(lambda: api.broker.connected)
    async with api.session.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


@pytest.fixture
async def nowhere(settings: Settings) -> AsyncIterator[tuple[Settings, asyncpg.Pool]]:
    """Settings and pool of a database that cannot be reached."""
    away = settings.model_copy(update={"database_url": NO_DATABASE})
    made = await create_pool(away)
    yield away, made
    await made.close()


async def test_it_is_not_ready_without_the_database(
    nowhere: tuple[Settings, asyncpg.Pool], broker: Publisher, serve: Serve
) -> None:
    client = await serve(build_app(*nowhere, broker))

    assert await failing(client) == ["database"]
    async with client.get("/livez") as answer:
        assert answer.status == 200


async def test_a_pool_that_is_busy_is_no_database_that_is_away(api: Api, pool: asyncpg.Pool) -> None:
    async with AsyncExitStack() as busy:
        for _ in range(pool.get_max_size()):
            await busy.enter_async_context(pool.acquire())
        async with api.session.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_it_is_not_ready_before_the_schema_is_the_one_it_needs(api: Api, conn: asyncpg.Connection) -> None:
    async def shown() -> Any:
        async with api.session.get("/readyz") as answer:
            return answer.status, await answer.json()

    version, file = migrate.available()[-1][0], migrate.definitions()[0][0]
    async with undone(conn):
        await conn.execute("DELETE FROM schema_migrations WHERE version = $1", version)
        await conn.execute("UPDATE schema_definitions SET digest = 'of an older text' WHERE file = $1", file)
        missing = [version, f"schema/{file}"]
        assert await shown() == (503, {"status": "unavailable", "failing": ["schema"], "missing": missing})

        # A newer release has been here, and keeps what it has changed compatible.
        await conn.execute("UPDATE schema_definitions SET revision = revision + 1")
        assert await shown() == (503, {"status": "unavailable", "failing": ["schema"], "missing": [version]})
        await conn.execute("INSERT INTO schema_migrations (version) VALUES ($1), ('999_later')", version)
        assert await shown() == (200, {"status": "ok"})
    assert await shown() == (200, {"status": "ok"})


@asynccontextmanager
async def undone(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """Afterwards the records of the schema are what they were: the database is lent to other tests."""
    tables = ("schema_migrations", "schema_definitions")
    for table in tables:
        await conn.execute(f"CREATE TEMPORARY TABLE kept_{table} AS SELECT * FROM {table}")
    try:
        yield
    finally:
        for table in tables:
            await conn.execute(f"DELETE FROM {table}")
            await conn.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")


async def test_a_database_without_tables_has_not_the_schema(
    settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve
) -> None:
    empty = settings.model_copy(update={"database_url": with_database(server_url(), "postgres")})
    client = await serve(build_app(empty, pool, broker))

    assert await failing(client) == ["schema"]


async def test_a_process_that_stops_says_so_and_ends_its_connections(api: Api) -> None:
    api.app[READINESS].draining.set()

    assert await failing(api.session) == ["draining"]
    for path in ("/livez", "/no/such/path", "/docs"):
        async with api.session.get(path) as answer:
            assert answer.headers["Connection"] == "close"


async def test_answers_give_no_version_away_and_are_not_framed(client: aiohttp.ClientSession) -> None:
    for path in ("/livez", "/no/such/path", "/docs", "/docs/start.js", "/api/v1/conversations"):
        async with client.get(path) as answer:
            assert answer.headers["Server"] == "clarion"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_address_itself_leads_to_the_viewer(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as answer:
        assert (answer.status, answer.url.path, answer.content_type) == (200, "/docs", "text/html")
    async with client.get("/docs/start.js") as answer:
        assert "persistAuthorization" not in await answer.text()


@pytest.fixture
def spoiled(settings: Settings) -> Settings:
    """An installation whose queues no other test shares."""
    return settings.model_copy(update={"amqp_prefix": new_prefix()})


async def test_it_names_a_queue_of_other_arguments_and_is_ready(
    spoiled: Settings, pool: asyncpg.Pool, serve: Serve
) -> None:
    async with broker_client(spoiled) as operator:
        name = operator.topology.directory
        await operator.channel.declare_queue(name, durable=True)
        async with publishing(spoiled) as broker:
            client = await serve(build_app(spoiled, pool, broker))
            async with client.get("/readyz") as answer:
                body = await answer.json()
        assert (answer.status, body["status"], body["degraded"]) == (200, "degraded", ["topology"])
        (shown,) = body["topology"]
        await operator.delete_topology()

    assert shown.startswith(f"queue {name} is different: PRECONDITION_FAILED - inequivalent arg 'x-")
    assert f"delete_queue '{name}'" in shown


async def test_it_is_degraded_when_the_exchange_of_commands_is_of_another_kind(
    spoiled: Settings, pool: asyncpg.Pool, serve: Serve
) -> None:
    async with broker_client(spoiled) as operator:
        name = operator.topology.commands
        await operator.channel.declare_exchange(name, "topic", durable=True)
        broker = Publisher(spoiled, "test")
        await broker.broker.start()
        await until(lambda: bool(broker.faults))
        client = await serve(build_app(spoiled, pool, broker))
        async with client.get("/readyz") as answer:
            assert answer.status == 200
            shown = await answer.json()
        await broker.broker.stop()
        await operator.delete_topology()

    assert shown["degraded"] == ["broker", "topology"]
    assert [line.split(":")[0] for line in shown["topology"]] == [f"exchange {name} is different"]


async def test_it_names_all_that_fails(nowhere: tuple[Settings, asyncpg.Pool], serve: Serve) -> None:
    async with publishing_nowhere(nowhere[0]) as broker:
        app = build_app(*nowhere, broker)
        app[READINESS].draining.set()
        client = await serve(app)
        async with client.get("/readyz") as answer:
            body = await answer.json()

    assert (answer.status, body["failing"], body["degraded"]) == (503, ["database", "draining"], ["broker"])


async def test_figures_are_not_shown_to_everybody_where_they_have_a_port(
    settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve
) -> None:
    client = await serve(build_app(settings.model_copy(update={"metrics_port": free_port()}), pool, broker))

    async with client.get("/metrics") as answer:
        assert answer.status == 404
    async with client.get("/openapi.json") as answer:
        assert "/metrics" not in (await answer.json())["paths"]


async def test_requests_are_counted_by_route(client: aiohttp.ClientSession) -> None:
    for path in ("/api/v1/conversations/1", "/api/v1/conversations/2.json", "/no/such/path"):
        async with client.get(path) as answer:
            await answer.read()
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()

    counted = [line for line in lines if line.startswith("clarion_http_requests_total")]
    route = 'method="GET",route="/api/v1/conversations/:id",status="401"'
    assert [line for line in counted if route in line]
    assert [line for line in counted if 'method="-",route="unmatched",status="404"' in line]
    assert not [line for line in counted if "/no/such/path" in line or "conversations/1" in line]


async def test_a_method_that_a_route_does_not_have_is_not_counted_by_its_name(client: aiohttp.ClientSession) -> None:
    """Else a client could make as many series of figures as HTTP has methods."""
    async with client.request("PROPFIND", "/api/v1/conversations/1") as answer:
        assert answer.status == 404
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()

    assert [line for line in lines if 'method="-",route="/api/v1/conversations/:id",status="404"' in line]
    assert not [line for line in lines if "PROPFIND" in line]


async def test_a_request_that_takes_long_is_counted_as_slow_and_a_stream_is_not(
    client: aiohttp.ClientSession,
    token: Callable[..., Awaitable[dict[str, str]]],
    conn: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream, as one of recipients, lasts as long as its reader wants."""
    monkeypatch.setattr(observation, "SLOW", 0.0)
    batch = await Batches(conn).accept([11], chunk_size=1)
    route = "/api/v1/conversations/batches/:id"
    shown = growth("api", "clarion_http_requests_slow_total", method="GET", route=route)
    streamed = growth("api", "clarion_http_requests_slow_total", method="GET", route=f"{route}/recipients")
    headers = await token(SENDER)

    for path in (str(batch), f"{batch}/recipients"):
        async with client.get(
            f"/api/v1/conversations/batches/{path}", headers=headers | {"Accept": "text/csv, application/json"}
        ) as answer:
            assert answer.status == 200
            await answer.read()

    await until(lambda: shown() == 1)
    assert streamed() == 0
