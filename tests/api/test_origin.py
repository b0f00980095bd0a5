"""Absolute URLs, events and logs behind proxies (CONTRACT 6.17)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from service.api.app import build_app
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]
Served = Callable[..., Awaitable[aiohttp.ClientSession]]

FORWARDED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "school.example",
    "X-Forwarded-For": "198.51.100.7",
}


@pytest.fixture
def served(
    settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
) -> Served:
    """A gateway without a public URL, unless one is given."""

    async def start(**changed: Any) -> aiohttp.ClientSession:
        return await serve(build_app(settings.model_copy(update={"public_url": "", **changed}), pool, broker))

    return start


async def first_link(client: aiohttp.ClientSession, headers: dict[str, str]) -> str:
    async with client.get("/api/v1/conversations", headers=headers) as answer:
        assert answer.status == 200
        return answer.headers["Link"].partition("/api/")[0].removeprefix("<")


async def test_without_a_public_url_links_lead_where_the_client_asked(served: Served, token: Token) -> None:
    client, headers = await served(), await token(7)

    assert await first_link(client, headers) == str(client._base_url).rstrip("/")
    assert await first_link(client, headers | {"Host": "school.example:8443"}) == "http://school.example:8443"
    assert await first_link(client, headers | FORWARDED | {"Host": "a.example"}) == "http://a.example"


async def test_trusted_proxies_say_where_the_client_asked(served: Served, token: Token) -> None:
    client, headers = await served(forwarded_allow="127.0.0.0/8"), await token(7)

    assert await first_link(client, headers | FORWARDED) == "https://school.example"
    assert (
        await first_link(client, headers | {"X-Forwarded-Proto": "https", "Host": "b.example"}) == "https://b.example"
    )


async def test_a_public_url_wins(served: Served, token: Token) -> None:
    client, headers = await served(forwarded_allow="127.0.0.1", public_url="https://c.example/"), await token(7)

    assert await first_link(client, headers | FORWARDED) == "https://c.example"
    assert await first_link(client, headers | {"Host": "a b"}) == "https://c.example"


@pytest.mark.parametrize("public_url", ["https://c.example", "https://c.example/"])
def test_answers_over_amqp_have_urls_of_the_public_url(settings: Settings, public_url: str) -> None:
    """No request says there where the client asked."""
    assert settings.model_copy(update={"public_url": public_url}).base_url == "https://c.example"


async def test_all_urls_of_an_answer_and_the_document_follow(
    served: Served, token: Token, school: School, threads: Threads, institution: Institution
) -> None:
    await threads.private(school.teacher, school.students[0])
    client, headers = await served(), await token(school.teacher) | {"Host": "d.example"}

    async with client.get("/api/v1/conversations?scope=sent", headers=headers) as answer:
        (listed,) = await answer.json()
    async with client.put(
        "/api/v1/conversations", json={"conversation_ids": [listed["id"]], "event": "star"}, headers=headers
    ) as answer:
        progress = await answer.json()
    async with client.get("/api/v1/search/recipients?search=user", headers=headers) as answer:
        found, link = await answer.json(), answer.headers["Link"]
    async with client.get("/api/v1/users/self", headers=headers) as answer:
        own = await answer.json()
    async with client.get("/openapi.json", headers={"Host": "d.example"}) as answer:
        document = await answer.json()

    assert listed["avatar_url"].startswith("http://d.example/images/")
    assert progress["url"] == f"http://d.example/api/v1/progress/{progress['id']}"
    assert found[0]["avatar_url"].startswith("http://d.example/images/")
    assert link.startswith("<http://d.example/api/v1/search/recipients?")
    assert own["avatar_url"].startswith("http://d.example/images/")
    assert document["servers"] == [{"url": "http://d.example"}]


@pytest.mark.parametrize("host", [b"", b"Host: \r\n", b"Host: a b\r\n", b"Host: a/b\r\n"])
async def test_a_host_that_is_none_is_refused_and_probes_need_none(served: Served, token: Token, host: bytes) -> None:
    client, headers = await served(), await token(7)
    assert client._base_url

    async def status(path: bytes) -> bytes:
        assert client._base_url
        reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
        credentials = b"Authorization: " + headers["Authorization"].encode() + b"\r\n"
        writer.write(b"GET " + path + b" HTTP/1.0\r\n" + host + credentials + b"\r\n")
        line = await reader.readline()
        writer.close()
        return line.split()[1]

    assert await status(b"/api/v1/conversations") == b"400"
    assert await status(b"/livez") == b"200"


async def test_nothing_is_done_for_a_host_that_is_none(
    served: Served, token: Token, school: School, conn: asyncpg.Connection
) -> None:
    client, headers = await served(), await token(school.teacher)
    message = {"recipients": [str(school.students[0])], "body": "Hello"}

    async with client.post("/api/v1/conversations", json=message, headers=headers | {"Host": "a b"}) as answer:
        assert answer.status == 400
        assert (await answer.json()) == {"errors": [{"message": "The Host header is missing or names no host."}]}

    update = {"conversation_ids": ["1"], "event": "star"}
    async with client.put("/api/v1/conversations", json=update, headers=headers | {"Host": "a b"}) as answer:
        assert answer.status == 400

    assert await conn.fetchval("SELECT count(*) FROM sends") == 0
    assert await conn.fetchval("SELECT count(*) FROM batch_updates") == 0


@pytest.mark.parametrize(
    ("trusted", "ip", "host", "url"),
    [
        ("127.0.0.1", "198.51.100.7", "school.example", "https://school.example"),
        ("", "127.0.0.1", "a.example", "http://a.example:81"),
    ],
)
async def test_events_and_logs_name_the_client_behind_a_trusted_proxy(
    *,
    served: Served,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
    trusted: str,
    ip: str,
    host: str,
    url: str,
) -> None:
    client, headers = await served(forwarded_allow=trusted), await token(school.teacher)
    message = {"recipients": [str(school.students[0])], "body": "Hello"}

    with capture_logs() as logs:
        async with client.post(
            "/api/v1/conversations", json=message, headers=headers | FORWARDED | {"Host": "a.example:81"}
        ) as answer:
            assert answer.status == 201

    cause = orjson.loads(await conn.fetchval("SELECT cause FROM outbox LIMIT 1"))
    assert (cause["client_ip"], cause["hostname"], cause["url"]) == (ip, host, f"{url}/api/v1/conversations")
    assert [line["client_ip"] for line in logs if line["event"] == "request"] == [ip]


@pytest.mark.parametrize(
    "line", [b"PROXY TCP4 198.51.100.7 203.0.113.1 1 80\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)]
)
async def test_a_proxy_header_is_no_request_and_ends_the_connection(served: Served, line: bytes) -> None:
    """A balancer that speaks it (HAProxy's send-proxy) finds out at its first check; neither version is believed."""
    client = await served(forwarded_allow="127.0.0.1")
    assert client._base_url
    reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)

    writer.write(line + b"GET /livez HTTP/1.1\r\nHost: a.example\r\n\r\n")
    answer = await reader.read()

    writer.close()
    assert answer.partition(b"\r\n")[0].endswith(b" 400 Bad Request")
    assert answer.count(b"HTTP/1.") == 1
