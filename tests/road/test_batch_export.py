"""A batch's recipients as one CSV, from a gateway that does not grow by it."""

from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg
import psutil

from tests.support.batches import Batches
from tests.support.processes import Client, Installation

AsUser = Callable[[int], Awaitable[Client]]
RECIPIENTS = 200_000  # whose lines alone are 10 MB, and as objects a hundred
GROWTH = 20_000_000  # bytes at most


async def test_the_gateway_does_not_grow_with_what_it_exports(
    running: Installation, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    batch = await Batches(conn).accept(range(11, 11 + RECIPIENTS), chunk_size=2000)
    gateway = await running.api()
    sender = await as_user(1)
    path = f"/conversations/batches/{batch}/recipients"
    for _ in range(5):
        await sender.call("GET", path, params={"per_page": 100})
    process = psutil.Process(gateway.pid)
    before = peak = process.memory_info().rss

    lines = 0
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer token-of-1", "Accept": "text/csv"}) as session,
        session.get(f"{running.url}/api/v1{path}") as response,
    ):
        async for part in response.content.iter_chunked(1 << 20):
            lines += part.count(b"\n")
            peak = max(peak, process.memory_info().rss)

    assert lines == 1 + RECIPIENTS
    assert peak - before < GROWTH
