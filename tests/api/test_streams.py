"""Answers that are made while they are sent: how long they may take, and what ends them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api.app import build_app
from service.api.routing import register
from service.api.streams import stream
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.waiting import until

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]
Ask = Callable[[str], Awaitable[aiohttp.ClientResponse]]
PATH = "/api/v1/stream/1"
PART = b"x" * 100_000
SECONDS = 4.0  # that a request may take
PAUSE, PARTS = 1.0, 6  # of an answer that takes longer


def _after(due: float) -> Callable[[], bool]:
    return lambda: asyncio.get_running_loop().time() >= due


class Parts:
    """What the answer is made of; ``closed`` once no more is asked for."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def slow(self) -> AsyncGenerator[bytes, None]:
        """The clock is what is waited for: that is what this is about."""
        now = asyncio.get_running_loop().time
        for _ in range(PARTS):
            due = now() + PAUSE
            await until(_after(due))
            yield b"part\n"

    async def endless(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield PART
        finally:
            self.closed.set()

    async def broken(self) -> AsyncGenerator[bytes, None]:
        yield b"part\n"
        raise LookupError("a fault of ours")


@pytest.fixture
def parts() -> Parts:
    """Of the test's answers."""
    return Parts()


@pytest.fixture
async def open_stream(
    *,
    settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    serve: Serve,
    parts: Parts,
    token: Callable[..., Awaitable[dict[str, str]]],
) -> Ask:
    """Asks for one of the answers."""

    async def answer(request: web.Request) -> web.StreamResponse:
        made = getattr(parts, request.query["kind"])
        return await stream(request, "text/plain", made())

    app = build_app(settings.model_copy(update={"request_timeout": SECONDS}), pool, broker)
    register(app, [web.get("/api/v1/stream/{id}", answer)])
    session, headers = await serve(app), await token(1)

    async def ask(kind: str) -> aiohttp.ClientResponse:
        return await session.get(PATH, params={"kind": kind}, headers=headers)

    return ask


async def test_an_answer_that_comes_on_may_take_longer_than_a_request(open_stream: Ask) -> None:
    began = asyncio.get_running_loop().time()
    async with await open_stream("slow") as response:
        assert await response.read() == b"part\n" * PARTS

    assert asyncio.get_running_loop().time() - began > SECONDS


async def test_a_reader_who_takes_nothing_is_cut_off(open_stream: Ask, parts: Parts) -> None:
    """The session reads no more than it is asked for. There is no second answer behind the beginning of this one."""
    async with await open_stream("endless") as response:
        await asyncio.wait_for(parts.closed.wait(), 60)
        taken: list[bytes] = []
        with pytest.raises(aiohttp.ClientError):
            await read_all(response, taken)

    assert set(b"".join(taken)) == set(PART)


async def read_all(response: aiohttp.ClientResponse, taken: list[bytes]) -> None:
    """What comes, as far as it comes."""
    while piece := await response.content.readany():
        taken.append(piece)


async def test_an_answer_that_breaks_has_no_end(open_stream: Ask) -> None:
    async with await open_stream("broken") as response:
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_a_reader_who_goes_ends_it(open_stream: Ask, parts: Parts) -> None:
    with suppress(aiohttp.ClientError):
        async with await open_stream("endless") as response:
            response.close()

    await asyncio.wait_for(parts.closed.wait(), 60)
