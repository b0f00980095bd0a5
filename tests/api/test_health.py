"""What the gateway says of its own state."""

import uuid
from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api.app import build_app
from service.runtime.postgres import create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.gateway import Api, publishing, publishing_nowhere
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


async def test_it_is_not_ready_without_the_broker(settings: Settings, pool: asyncpg.Pool, serve: Serve) -> None:
    async with publishing_nowhere(settings) as broker:
        client = await serve(build_app(settings, pool, broker))

        assert await failing(client) == ["broker"]
        async with client.get("/livez") as answer:
            assert answer.status == 200


async def test_it_is_not_ready_while_the_broker_is_gone(api: Api) -> None:
    await api.broker.broker.stop()
    assert await failing(api.session) == ["broker"]

    await api.broker.broker.start()
    await until(lambda: api.broker.connected)
    async with api.session.get("/readyz") as answer:
        assert answer.status == 200


async def test_it_is_not_ready_without_the_database(settings: Settings, broker: Publisher, serve: Serve) -> None:
    pool = await create_pool(settings.model_copy(update={"database_url": NO_DATABASE}))
    assert await failing(await serve(build_app(settings, pool, broker))) == ["database"]
    await pool.close()


@pytest.fixture
def spoiled(settings: Settings) -> Settings:
    """An installation whose queues no other test shares."""
    return settings.model_copy(update={"amqp_prefix": f"test-{uuid.uuid4().hex[:12]}"})


async def test_it_names_a_queue_of_other_arguments_and_is_ready(
    spoiled: Settings, pool: asyncpg.Pool, serve: Serve
) -> None:
    async with broker_client(spoiled) as operator:
        name = operator.topology.directory
        await operator.channel.declare_queue(name, durable=True)
        async with publishing(spoiled) as broker:
            client = await serve(build_app(spoiled, pool, broker))
            async with client.get("/readyz") as answer:
                assert answer.status == 200
                (shown,) = (await answer.json())["topology"]
        await operator.delete_topology()

    assert shown.startswith(f"queue {name} is different: PRECONDITION_FAILED - inequivalent arg 'x-")
    assert f"delete_queue '{name}'" in shown


async def test_it_is_not_ready_when_the_exchange_of_commands_is_of_another_kind(
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
            assert answer.status == 503
            shown = await answer.json()
        await broker.broker.stop()
        await operator.delete_topology()

    assert shown["failing"] == ["broker"]
    assert [line.split(":")[0] for line in shown["topology"]] == [f"exchange {name} is different"]


async def test_it_names_all_that_fails(settings: Settings, serve: Serve) -> None:
    pool = await create_pool(settings.model_copy(update={"database_url": NO_DATABASE}))
    async with publishing_nowhere(settings) as broker:
        assert await failing(await serve(build_app(settings, pool, broker))) == ["database", "broker"]
    await pool.close()


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
