"""Parameters as clients send them, over a socket."""

import gzip
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

Token = Callable[..., Awaitable[dict[str, str]]]

ECHO = "/api/v1/echo/1"


@pytest.fixture
async def known(token: Token) -> dict[str, str]:
    """Credentials of some user."""
    return await token(7)


def multipart(fields: list[tuple[str, str]]) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields:
        form.add_field(name, value)
    return form


FIELDS = [("recipients[]", "1"), ("recipients[]", "course_3"), ("conversation[starred]", "true"), ("body", "é&\n")]
READ = {"recipients": ["1", "course_3"], "conversation": {"starred": "true"}, "body": "é&\n"}


@pytest.mark.parametrize(
    "sent",
    [
        {"params": FIELDS},
        {"data": FIELDS},
        {"data": multipart(FIELDS)},
        {"json": READ},
        {"json": {"recipients[]": ["1", "course_3"], "conversation[starred]": "true", "body": "é&\n"}},
        {"params": FIELDS[:2], "json": {"conversation": {"starred": "true"}, "body": "é&\n"}},
        {"params": [("body", "from the query")], "data": FIELDS},
        {"params": FIELDS, "headers": {"Content-Type": "application/json"}},
        {"params": FIELDS, "headers": {"Content-Length": "0"}},
        {"params": FIELDS, "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
    ],
)
async def test_every_encoding_says_the_same(
    client: aiohttp.ClientSession, known: dict[str, str], sent: dict[str, Any]
) -> None:
    headers = known | sent.pop("headers", {})
    async with client.post(ECHO, headers=headers, **sent) as answer:
        assert (await answer.json())["parameters"] == READ


async def test_a_put_may_say_all_in_its_query(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    async with client.put(f"{ECHO}?conversation[starred]=true", headers=known) as answer:
        assert (await answer.json())["parameters"] == {"conversation": {"starred": "true"}}


async def test_a_get_may_carry_a_type_and_even_a_body(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    async with client.get(ECHO, headers=known | {"Content-Type": "application/json"}) as answer:
        assert (await answer.json())["parameters"] == {}
    async with client.get(ECHO, headers=known, json={"a": 1}) as answer:
        assert (await answer.json())["parameters"] == {}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "wat"])
async def test_a_body_that_would_have_to_be_unpacked_is_415(
    client: aiohttp.ClientSession, known: dict[str, str], encoding: str
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    async with client.post(ECHO, headers=known | headers, data=gzip.compress(b'{"a": 1}')) as answer:
        assert answer.status == 415
        assert (await answer.json())["errors"][0]["message"]
    async with client.post(ECHO, headers=headers, data=gzip.compress(b'{"a": 1}')) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"body": "' + b'a, \\" b, \\\\' * 150_000 + b'"}'),
        ("application/json", b'{"recipients": [' + b",".join([b'"12345"'] * 100_000) + b"]}"),
        ("application/x-www-form-urlencoded", b"&".join([b"recipients[]=12345"] * 100_000)),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="body"\r\n\r\n' + b"x," * 200_000 + b"\r\n--b--\r\n",
        ),
    ],
)
async def test_what_is_long_and_has_few_values_is_read(
    client: aiohttp.ClientSession, known: dict[str, str], content_type: str, body: bytes
) -> None:
    async with client.post(ECHO, headers=known | {"Content-Type": content_type}, data=BytesIO(body)) as answer:
        assert answer.status == 200
        (read,) = (await answer.json())["parameters"].values()
    assert len(read) >= 100_000


async def test_a_quoted_comma_is_no_value(client: aiohttp.ClientSession, known: dict[str, str]) -> None:
    """As many as there may be values, in strings of every kind."""
    texts = ['",', "\\,", ',"\\",', "," * 140_000]
    async with client.post(ECHO, headers=known, json={"a": texts}) as answer:
        assert (await answer.json())["parameters"] == {"a": texts}


async def test_too_many_values_are_refused_whatever_stands_between_them(
    client: aiohttp.ClientSession, known: dict[str, str]
) -> None:
    items: tuple[Any, ...] = (1, "x", '"', "\\", {}, [], [[1]])
    for item in items:
        async with client.post(ECHO, headers=known, json={"a": [item] * 131_073}) as answer:
            assert answer.status == 400
            assert "131072" in (await answer.json())["errors"][0]["message"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b"\xff"),
        ("application/json", b'{"a":' * 1000 + b"1" + b"}" * 1000),
        ("application/json", b'{"a": "\\u0000"}'),
        ("application/x-www-form-urlencoded", b"a=%00"),
        ("application/x-www-form-urlencoded", b"a" + b"[b]" * 1000 + b"=1"),
        ("application/x-www-form-urlencoded", b"a=1&" * 1_000_000),
        ("application/x-www-form-urlencoded", b"a=1&a[b]=2"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n"),
        ("text/plain", b"a=1"),
        ("application/xml", b"<a/>"),
        ("wat", b"x"),
        ("application/json; charset=" + "x" * 500, b"{"),
    ],
)
async def test_what_cannot_be_read_is_a_400_that_says_why(
    client: aiohttp.ClientSession, known: dict[str, str], content_type: str, body: bytes
) -> None:
    async with client.post(ECHO, headers=known | {"Content-Type": content_type}, data=BytesIO(body)) as answer:
        assert answer.status == 400
        (error,) = (await answer.json())["errors"]
        assert error["message"]


@pytest.mark.parametrize("query", ["a=%zz", "a=%00", "a=%ff", "a=1&a[b]=2", "a[][b]=1", "a" + "[b]" * 100])
async def test_so_it_is_in_a_query(client: aiohttp.ClientSession, known: dict[str, str], query: str) -> None:
    assert client._base_url
    url = URL(f"{client._base_url.origin()}{ECHO}?{query}", encoded=True)
    async with client.get(url, headers=known) as answer:
        assert answer.status == 400


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=st.binary(max_size=200),
    content_type=st.sampled_from(
        [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b",
            "multipart/form-data; boundary=\"'",
            "text/plain",
            "a/b; c",
            ";",
        ]
    ),
    override=st.sampled_from(["", "PUT", "nothing", "é"]),
)
async def test_no_body_makes_it_fail(
    client: aiohttp.ClientSession, known: dict[str, str], body: bytes, content_type: str, override: str
) -> None:
    headers = known | {"Content-Type": content_type, "X-HTTP-Method-Override": override}
    async with client.post(ECHO, headers=headers, data=body) as answer:
        assert answer.status in {200, 400, 404}
