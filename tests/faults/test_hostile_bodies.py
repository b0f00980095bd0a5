"""Bodies that cost much: others are answered meanwhile (a real server, as an operator runs it)."""

import asyncio
import json
import os
import select
import signal
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from service.domain.encodings import read_form, read_multipart
from tests.support.fault_environment import FaultEnvironment, logged
from tests.support.waiting import until

SENT_AT_ONCE = 4
ROUNDS = 20
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"


def fields() -> bytes:
    """A form of as many values as there may be, all of them escaped."""
    return b"&".join([b"a[]=" + b"%41" * 20] * 130_000)


def parts() -> bytes:
    """The same in parts."""
    return b'--b\r\nContent-Disposition: form-data; name="a[]"\r\n\r\nx\r\n' * 130_000 + b"--b--\r\n"


def seconds_of(read: Callable[[], object]) -> float:
    """How long this process takes to parse, on this machine and with what else it does right now."""
    began = time.perf_counter()
    read()
    return time.perf_counter() - began


async def longest_while(work: "asyncio.Future[list[int]]", session: aiohttp.ClientSession, url: str) -> float:
    """Seconds of the slowest answer of /livez, asked for again and again until the work is done."""
    longest = 0.0
    while not work.done():
        began = time.perf_counter()
        async with session.get(f"{url}/livez") as answer:
            assert answer.status == 200
        longest = max(longest, time.perf_counter() - began)
    return longest


@pytest.mark.parametrize("kind", [FORM, MULTIPART])
async def test_livez_is_answered_while_costly_bodies_are_parsed(there: FaultEnvironment, kind: str) -> None:
    """Were they parsed by the loop that answers, an answer would take as long as the parsing of one, at least."""
    gateway = await there.running.api(CLARION_REQUEST_TIMEOUT="3600")
    body = fields() if kind == FORM else parts()

    async def send() -> int:
        path = "/conversations?recipients[]=0"  # of nobody: what it costs is the reading
        status, _, _ = await there.teacher.call("POST", path, headers={"Content-Type": kind}, data=BytesIO(body))
        return int(status)

    # A busy machine makes an answer late now and then; the loop would each time.
    for _ in range(ROUNDS):
        alone = seconds_of(lambda: read_form(body) if kind == FORM else read_multipart(body, kind))
        work = asyncio.gather(*(send() for _ in range(SENT_AT_ONCE)))
        longest = await longest_while(work, there.session, there.running.url)
        assert set(await work) == {400}
        if longest < alone / 2:
            break
    assert longest < alone / 2
    assert await gateway.stop() == 0


async def test_another_s_long_body_does_not_wait_for_all_of_a_greedy_client_s(there: FaultEnvironment) -> None:
    await there.running.api(CLARION_REQUEST_TIMEOUT="3600")
    other, body = await there.client(there.school.students[0]), parts()

    async def send() -> int:
        status, _, _ = await there.teacher.call(
            "POST", "/conversations", headers={"Content-Type": MULTIPART}, data=BytesIO(body)
        )
        return int(status)

    for _ in range(ROUNDS):
        greedy = [asyncio.create_task(send()) for _ in range(SENT_AT_ONCE)]
        await asyncio.wait(greedy, return_when=asyncio.FIRST_COMPLETED)
        long = {"recipients": ["0"], "body": "x" * 60_000}
        status, _, _ = await other.call("POST", "/conversations", json=long)
        done = sum(task.done() for task in greedy)
        await asyncio.gather(*greedy)
        assert status == 400
        if done < SENT_AT_ONCE - 1:
            break
    assert done < SENT_AT_ONCE - 1


async def kill_parser(pid: int) -> None:
    """Returns when its gateway has noticed."""
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_a_parser_that_was_killed_while_it_had_nothing_to_do_is_replaced(there: FaultEnvironment) -> None:
    gateway = await there.running.api()
    body = {"recipients": ["0"], "body": "x" * 60_000}

    for times in (1, 2):
        status, _, _ = await there.teacher.call("POST", "/conversations", json=body)
        assert status == 400
        await kill_parser(json.loads(logged(gateway, "parser_started")[times - 1])["pid"])

    await there.ready()


async def test_the_process_that_parses_ends_with_its_gateway(there: FaultEnvironment) -> None:
    gateway = await there.running.api()
    body = {"recipients": ["0"], "body": "x" * 60_000}
    status, _, _ = await there.teacher.call("POST", "/conversations", json=body)
    assert status == 400
    (line,) = logged(gateway, "parser_started")
    parser = os.pidfd_open(json.loads(line)["pid"])

    await gateway.stop(signal.SIGKILL)

    await until(lambda: bool(select.select([parser], [], [], 0)[0]))
    os.close(parser)
