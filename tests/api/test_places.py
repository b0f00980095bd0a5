"""One client cannot hold a gateway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api.app import build_app
from service.api.database import connection
from service.api.places import Places
from service.api.responses import respond
from service.api.routing import register
from service.api.unavailable import Unavailable
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]
Token = Callable[..., Awaitable[dict[str, str]]]


class Holding:
    """A route whose requests keep their connection until they are let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.inside = asyncio.Semaphore(0)
        self.routes = [web.get("/api/v1/hold", self._hold)]

    async def _hold(self, request: web.Request) -> web.Response:
        async with connection(request):
            self.inside.release()
            await self.let_go.wait()
        return respond(request, {})


@pytest.fixture
def holding() -> Holding:
    """The route."""
    return Holding()


@pytest.fixture
async def client(
    edge_settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve, holding: Holding
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session on a gateway without throttle."""
    app = build_app(edge_settings.model_copy(update={"throttle_maximum": 0}), pool, broker)
    register(app, holding.routes)
    yield await serve(app)
    holding.let_go.set()


async def test_requests_of_one_token_have_half_of_the_pool_and_others_the_rest(
    client: aiohttp.ClientSession, token: Token, holding: Holding, pool: asyncpg.Pool
) -> None:
    greedy, other = await token(7), await token(8)
    size = pool.get_max_size()
    held = [asyncio.create_task(client.get("/api/v1/hold", headers=greedy)) for _ in range(3 * size)]
    for _ in range(size // 2):
        await holding.inside.acquire()

    for _ in range(3):
        async with client.get("/api/v1/conversations/unread_count", headers=other) as answer:
            assert answer.status == 200
    assert holding.inside.locked()
    holding.let_go.set()
    assert {(await task).status for task in held} == {200}


async def test_only_so_many_wait_for_a_connection(
    edge_settings: Settings, broker: Publisher, serve: Serve, token: Token
) -> None:
    async with asyncpg.create_pool(str(edge_settings.database_url), min_size=0, max_size=1) as pool:
        app = build_app(edge_settings.model_copy(update={"throttle_maximum": 0}), pool, broker)
        client, headers = await serve(app), await token(7)
        async with pool.acquire():
            asked = [asyncio.create_task(client.get("/api/v1/conversations", headers=headers)) for _ in range(20)]
            refused, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert {(await task).status for task in refused} == {503}
            assert len(waiting) >= 16
        assert {(await task).status for task in waiting} <= {200, 503}
        assert [(await task).status for task in asked].count(200) == 16


async def test_long_bodies_that_wait_to_be_parsed_are_so_many_bytes_at_most() -> None:
    places = Places(2, bodies=100)
    async with places.parsing(b"one", 60), places.parsing(b"other", 40):
        with pytest.raises(Unavailable):
            async with places.parsing(b"third", 1):
                pass
    async with places.parsing(b"third", 100):
        pass


def test_a_place_is_free_again_when_its_request_is_done() -> None:
    places = Places(2, bodies=0)
    for _ in range(100):
        with places.waiting():
            pass
    with ExitStack() as full:
        for _ in range(32):
            full.enter_context(places.waiting())
        with pytest.raises(Unavailable), places.waiting():
            pass
