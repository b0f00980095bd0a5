"""Bodies that cost much: others are answered meanwhile (a real server, as an operator runs it)."""

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from tests.support.fault_environment import FaultEnvironment

SENT_AT_ONCE = 20
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"


def strings() -> bytes:
    """As many values as there may be, and much in each."""
    return b'{"a": [' + b",".join([b'"' + b"\\\\," * 20 + b'"'] * 130_000) + b"]}"


def fields() -> bytes:
    """A form of as many values as there may be, all of them escaped."""
    return b"&".join([b"a[]=" + b"%41" * 20] * 130_000)


def parts() -> bytes:
    """The same in parts."""
    return b'--b\r\nContent-Disposition: form-data; name="a[]"\r\n\r\nx\r\n' * 130_000 + b"--b--\r\n"


async def count_while(work: "asyncio.Future[list[int]]", session: aiohttp.ClientSession, url: str) -> int:
    """Answers of /livez, asked for one after the other, until the work is done."""
    count = 0
    while not work.done():
        async with session.get(f"{url}/livez") as answer:
            assert answer.status == 200
        count += 1
    return count


@pytest.mark.parametrize(("made", "kind"), [(strings, JSON), (fields, FORM), (parts, MULTIPART)])
async def test_livez_is_answered_while_costly_bodies_come(
    there: FaultEnvironment, made: Callable[[], bytes], kind: str
) -> None:
    """Were they taken apart by the loop that answers, there would hardly be one answer for each of them."""
    gateway = await there.running.api()
    body = made()

    async def send() -> int:
        path = "/conversations?recipients[]=0"  # of nobody: what it costs is the reading
        status, _, _ = await there.teacher.call("POST", path, headers={"Content-Type": kind}, data=body)
        return int(status)

    work = asyncio.gather(*(send() for _ in range(SENT_AT_ONCE)))
    answers = await count_while(work, there.session, there.running.url)

    assert set(await work) == {400}
    assert answers > 3 * SENT_AT_ONCE
    assert await gateway.stop() == 0
