"""Clients that are silent, slow or gone."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import asyncpg
import pytest
import structlog
from aiohttp import web

from service.api.app import build_app
from service.api.routing import register
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.gateway import ECHO
from tests.support.waiting import PATIENCE, until

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]
Token = Callable[..., Awaitable[dict[str, str]]]
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

HEAD = "POST /api/v1/echo/1 HTTP/1.1\r\nHost: x\r\n{token}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"


@pytest.fixture
async def client(edge_settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve) -> aiohttp.ClientSession:
    """A session on a gateway that has two seconds for the silent."""
    app = build_app(edge_settings.model_copy(update={"request_timeout": 1.0}), pool, broker)
    register(app, ECHO)
    return await serve(app)


@pytest.fixture
async def connect(client: aiohttp.ClientSession) -> AsyncIterator[Connect]:
    """Connections to it, byte by byte."""
    writers = []

    async def open_one() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert client._base_url
        reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
        writers.append(writer)
        return reader, writer

    yield open_one
    for writer in writers:
        writer.close()


async def head(token: Token) -> bytes:
    """Of a request whose body has a hundred bytes."""
    return HEAD.format(token=f"Authorization: {(await token(7))['Authorization']}\r\n").encode()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_a_silent_connection_is_closed(connect: Connect, sent: bytes) -> None:
    reader, writer = await connect()
    writer.write(sent)

    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200") == sent.endswith(b"\r\n\r\n")


async def test_a_connection_that_sends_a_head_drop_by_drop_is_closed(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(b"GET /livez HTTP/1.1\r\n")

    async def drip() -> None:
        while not writer.is_closing():
            writer.write(b"X: y\r\n")
            await asyncio.wait({closed}, timeout=0.1)

    closed = asyncio.create_task(reader.read())
    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionResetError):
            assert await closed == b""
    dripping.cancel()


async def test_a_body_that_does_not_come_whole_ends_the_connection(connect: Connect, token: Token) -> None:
    reader, writer = await connect()
    with structlog.testing.capture_logs() as lines:
        writer.write(await head(token) + b'{"a":')
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        await until(lambda: any(line["event"] == "request" for line in lines))
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["status"] == 499


class PatientSettings(Settings):
    """A second for an answer, and as long as it takes for what the client sends."""

    @property
    def silence(self) -> float:
        return PATIENCE


async def test_a_slow_body_is_not_counted_as_the_service_s_time(
    edge_settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve, token: Token
) -> None:
    """It is longer on its way than an answer may take."""
    app = build_app(PatientSettings(**edge_settings.model_dump() | {"request_timeout": 1.0}), pool, broker)
    register(app, ECHO)
    client, headers = await serve(app), await token(7) | {"Content-Type": "application/json"}
    body = b'{"a":"' + b"x" * 92 + b'"}'

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:50]
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.3
        await until(lambda: loop.time() > end)
        yield body[50:]

    async with client.post("/api/v1/echo/1", headers=headers, data=slowly()) as answer:
        assert answer.status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure_of_the_service(
    connect: Connect, client: aiohttp.ClientSession, token: Token
) -> None:
    async def failed() -> dict[str, str]:
        async with client.get("/metrics") as answer:
            text = await answer.text()
        return dict(re.findall(r'^clarion_http_requests_total\{.*echo.*status="(5..)"\} (\S+)$', text, re.MULTILINE))

    before = await failed()
    _, writer = await connect()
    with structlog.testing.capture_logs() as lines:
        writer.write(await head(token) + b'{"a":')
        await writer.drain()
        writer.transport.abort()
        await until(lambda: any(line["event"] == "request" for line in lines))

    logged: list[Any] = [line["event"] for line in lines if line["log_level"] not in {"info", "debug"}]
    assert logged == []
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["status"] == 499
    assert await failed() == before
