"""Links of a list, as a client follows them."""

from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api.app import build_app
from service.api.description import Outcome, describe
from service.api.pagination import PageParameters, link_headers, page_of
from service.api.responses import respond
from service.api.routing import register
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.gateway import PUBLIC_URL

ITEMS = list(range(7))

Token = Callable[..., Awaitable[dict[str, str]]]


@describe("List items", {200: Outcome("A page.", list[int])}, parameters=PageParameters)
async def items(request: web.Request, sent: PageParameters) -> web.Response:
    page = page_of(sent)
    found = ITEMS[page.offset : page.offset + page.size]
    return respond(request, found, headers=link_headers(request, page, total=len(ITEMS)))


@pytest.fixture
async def listing(
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
) -> aiohttp.ClientSession:
    """A gateway with a list of seven items."""
    app = build_app(edge_settings, pool, broker)
    register(app, [web.get("/api/v1/items", items)])
    return await serve(app)


async def test_a_client_that_follows_next_gets_everything(listing: aiohttp.ClientSession, token: Token) -> None:
    headers, seen = await token(7), []
    kept = f"<{PUBLIC_URL}/api/v1/items?filter%5B%5D=a%2Cb&page="
    path = "/api/v1/items.json?per_page=5&filter[]=a,b&access_token=x&per_page=3"
    while path:
        async with listing.get(path, headers=headers) as answer:
            seen.extend(await answer.json())
            links = answer.headers["Link"].split(",")
        assert all(link.startswith(kept) for link in links)
        following = [link for link in links if link.endswith('rel="next"')]
        path = following[0][1:].partition(">")[0].removeprefix(PUBLIC_URL) if following else ""

    assert seen == ITEMS


@pytest.mark.parametrize(("query", "status"), [("page=9", 200), ("page=0", 404), ("page=x", 404), ("per_page=x", 200)])
async def test_pages_that_cannot_be(listing: aiohttp.ClientSession, token: Token, query: str, status: int) -> None:
    async with listing.get(f"/api/v1/items?{query}", headers=await token(7)) as answer:
        assert answer.status == status


async def test_next_is_there_however_long_the_query_and_the_last_page_has_none(
    listing: aiohttp.ClientSession, token: Token
) -> None:
    headers, filters = await token(7), "x" * 6000
    async with listing.get("/api/v1/items", params={"per_page": 5, "filter": filters}, headers=headers) as answer:
        assert answer.headers["Link"] == (f'<{PUBLIC_URL}/api/v1/items?filter={filters}&page=2&per_page=5>; rel="next"')
    async with listing.get(
        "/api/v1/items", params={"per_page": 5, "page": 2, "filter": filters}, headers=headers
    ) as answer:
        assert answer.status == 200
        assert "Link" not in answer.headers
