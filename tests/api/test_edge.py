"""What every request meets, whatever it asks for."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
import structlog
from aiohttp import web

from service.api.app import build_app
from service.runtime.postgres import create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.gateway import Api
from tests.support.waiting import PATIENCE

Token = Callable[..., Awaitable[dict[str, str]]]

NOT_FOUND = {"errors": [{"message": "The specified resource does not exist."}]}


@pytest.fixture
async def known(token: Token) -> dict[str, str]:
    """Credentials of some user."""
    return await token(7)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/nothing"),
        ("GET", "/api/v2/conversations"),
        ("GET", "/api/v1/conversations/%00%ff"),
        ("DELETE", "/api/v1/echo/1"),
        ("PATCH", "/api/v1/conversations"),
        ("OPTIONS", "/api/v1/echo/1"),
        ("PROPFIND", "/api/v1/echo/1"),
    ],
)
async def test_what_does_not_exist_is_404_with_all_headers(
    client: aiohttp.ClientSession, method: str, path: str, known: dict[str, str]
) -> None:
    async with client.request(method, path, headers=known) as answer:
        assert answer.status == 404
        assert await answer.json() == NOT_FOUND
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert uuid.UUID(answer.headers["X-Request-Context-Id"])
    assert float(answer.headers["X-Request-Cost"]) > 0
    assert answer.headers["Cache-Control"] == "max-age=0, private, must-revalidate"


async def test_every_request_has_an_id_of_its_own(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    seen = set()
    for _ in range(3):
        async with client.get("/api/v1/echo/1", headers=known) as answer:
            seen.add(answer.headers["X-Request-Context-Id"])

    assert len(seen) == 3


async def test_a_path_may_end_in_json(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    async with client.get("/api/v1/echo/12.json", headers=known) as answer:
        assert (await answer.json())["id"] == 12


async def test_head_is_get_without_a_body(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    async with client.head("/api/v1/echo/1", headers=known) as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


@pytest.mark.parametrize(
    ("sent", "method"),
    [
        ({"data": {"_method": "put"}}, "PUT"),
        ({"data": {"_method": "GET"}}, "GET"),
        ({"data": {"_method": "wat"}}, "POST"),
        ({"data": "_method[]=put", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, "POST"),
        ({"headers": {"X-HTTP-Method-Override": "PUT"}}, "PUT"),
        ({"data": {"a": "1"}, "headers": {"X-HTTP-Method-Override": "put"}}, "PUT"),
        ({"json": {"_method": "put"}}, "POST"),
        ({"params": {"_method": "put"}}, "POST"),
    ],
)
async def test_a_post_may_mean_another_method(
    client: aiohttp.ClientSession, known: dict[str, str], sent: dict[str, Any], method: str
) -> None:
    headers = known | sent.pop("headers", {})
    async with client.post("/api/v1/echo/1", headers=headers, **sent) as answer:
        assert (await answer.json())["method"] == method


async def test_only_a_post_may(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    async with client.get("/api/v1/echo/1", headers=known | {"X-HTTP-Method-Override": "PUT"}) as answer:
        assert (await answer.json())["method"] == "GET"


async def test_an_override_may_lead_nowhere(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    async with client.post("/api/v1/echo/1", headers=known, data={"_method": "delete"}) as answer:
        assert answer.status == 404


async def test_ids_are_strings_for_clients_that_ask(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    accept = {"Accept": "text/html, application/json+canvas-string-ids"}
    async with client.get("/api/v1/echo/12", headers=known | accept) as answer:
        body = await answer.json()

    assert (body["id"], body["user_id"], body["real_user_id"]) == ("12", "7", None)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_a_fault_of_ours_is_reported_under_its_number(
    client: aiohttp.ClientSession, known: dict[str, str]
) -> None:
    with structlog.testing.capture_logs() as lines:
        async with client.get("/api/v1/fail", headers=known) as answer:
            body = await answer.json()

    assert answer.status == 500
    assert body["errors"] == [{"message": "An error occurred.", "error_code": "internal_server_error"}]
    (logged,) = [line for line in lines if line["event"] == "request failed"]
    assert body["error_report_id"] == logged["error_report_id"]
    assert isinstance(logged["exc_info"], LookupError)


async def test_one_line_is_logged_per_request(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        async with client.get("/api/v1/echo/5?access_token=secret", headers=known) as answer:
            await answer.read()

    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["request_id"] == answer.headers["X-Request-Context-Id"]
    assert (line["user_id"], line["status"], line["route"]) == (7, 200, "/api/v1/echo/:id")
    assert "secret" not in repr(line)


async def test_one_request_leaves_nothing_in_the_log_of_the_next(
    client: aiohttp.ClientSession, known: dict[str, str]
) -> None:
    async with client.get("/api/v1/echo/5", headers=known) as answer:
        await answer.read()
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        async with client.get("/livez") as answer:
            await answer.read()

    assert [line for line in lines if "user_id" in line] == []


@pytest.fixture
async def stranded(
    edge_settings: Settings,
    broker: Publisher,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
) -> AsyncIterator[aiohttp.ClientSession]:
    """A gateway whose database cannot be reached."""
    away = edge_settings.model_copy(update={"database_url": "postgresql://unknown@127.0.0.1:1/none"})
    pool = await create_pool(away)
    yield await serve(build_app(away, pool, broker))
    await pool.close()


async def test_a_database_that_is_away_is_503(stranded: aiohttp.ClientSession) -> None:
    async with stranded.get("/api/v1/conversations", headers={"Authorization": "Bearer x"}) as answer:
        body = await answer.json()

    assert answer.status == 503
    assert body["errors"][0]["error_code"] == "service_unavailable"
    assert answer.headers["X-Request-Context-Id"]


async def test_a_database_that_comes_back_is_used_again(
    api: Api, conn: asyncpg.Connection, known: dict[str, str]
) -> None:
    async def status() -> int:
        async with api.session.get("/api/v1/echo/1", headers=known) as answer:
            return answer.status

    assert await status() == 200
    await conn.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert await status() in {200, 503}
    assert await status() == 200


async def test_a_body_over_the_limit_is_413_before_it_is_read(api: Api, known: dict[str, str]) -> None:
    """Only the head of the request is sent; the answer does not wait for the body."""
    assert api.session._base_url
    host, port = api.session._base_url.host, api.session._base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"POST /api/v1/echo/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99000000000\r\nAuthorization: " + known["Authorization"].encode() + b"\r\n\r\n{"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"application/json; charset=utf-8" in head


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: 65537\r\n", 401),
        ("Content-Length: 10\r\nContent-Encoding: gzip\r\n", 401),
        ("Content-Length: 10\r\nContent-Encoding: gzip\r\nAuthorization: KNOWN\r\n", 415),
        ("Content-Length: 65537\r\nAuthorization: Bearer unknown\r\n", 401),
        ("Content-Length: 10\r\nAuthorization: Bearer unknown\r\n", 401),
    ],
)
async def test_a_body_is_not_waited_for_that_will_not_be_read(
    api: Api, known: dict[str, str], head: str, status: int
) -> None:
    """Only the head of the request is sent."""
    head = f"POST /api/v1/echo/1 HTTP/1.1\r\nHost: x\r\n{head.replace('KNOWN', known['Authorization'])}\r\n"
    assert (await first_line(api, head.encode())).startswith(f"HTTP/1.1 {status} ".encode())


async def first_line(api: Api, sent: bytes) -> bytes:
    """Of the answer, with nothing sent but that."""
    assert api.session._base_url
    reader, writer = await asyncio.open_connection(api.session._base_url.host, api.session._base_url.port)
    writer.write(sent)
    async with asyncio.timeout(PATIENCE):
        line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/livez", "/api/v1/echo/1"])
async def test_what_takes_no_body_waits_for_none(api: Api, known: dict[str, str], method: str, path: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
    line = await first_line(api, f"{head}Authorization: {known['Authorization']}\r\n\r\n".encode())
    assert line.startswith(b"HTTP/1.1 200 ")


async def test_a_post_beyond_the_api_waits_for_no_body(api: Api) -> None:
    line = await first_line(api, b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    assert line.startswith(b"HTTP/1.1 404 ")


async def test_a_long_chunked_body_without_a_token_is_not_read_to_its_end(api: Api) -> None:
    head = b"POST /api/v1/echo/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await first_line(api, head + b"10001\r\n" + b"x" * 65_537)).startswith(b"HTTP/1.1 401 ")


async def test_a_chunked_body_over_the_limit_is_413(
    client: aiohttp.ClientSession, edge_settings: Settings, known: dict[str, str]
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(edge_settings.max_body_bytes // 100_000 + 2):
            yield b" " * 100_000

    async with client.post("/api/v1/echo/1", headers=known, data=endless()) as answer:
        assert answer.status == 413
        assert (await answer.json())["errors"][0]["message"]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /api/v1/echo/1?" + b"a=1&" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: wat\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400_in_the_same_shape(api: Api, sent: bytes) -> None:
    assert api.session._base_url
    reader, writer = await asyncio.open_connection(api.session._base_url.host, api.session._base_url.port)
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.read(100)
    writer.close()

    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert body.startswith(b'{"errors":[{"message":')
