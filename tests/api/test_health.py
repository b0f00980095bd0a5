"""What those who watch the gateway are told."""

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from service.api.app import build_app
from service.runtime.postgres import create_pool
from service.runtime.settings import Settings
from tests.api.gateway import Api, BrokerSwitch


async def test_it_is_alive(client: aiohttp.ClientSession) -> None:
    async with client.get("/livez") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_it_is_ready_when_both_servers_answer(client: aiohttp.ClientSession) -> None:
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_it_is_not_ready_without_the_broker(api: Api) -> None:
    api.broker.connected = False

    async with api.session.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["failing"]) == (503, ["broker"])
    async with api.session.get("/livez") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("connected", [True, False])
async def test_it_is_not_ready_without_the_database(
    settings: Settings,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
    connected: bool,
) -> None:
    pool = await create_pool(settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"}))
    client = await serve(build_app(settings, pool, BrokerSwitch(connected)))

    async with client.get("/readyz") as answer:
        assert answer.status == 503
        assert (await answer.json())["failing"] == ["database"] if connected else ["database", "broker"]
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
