"""What others notice of a client of costly bodies: ``python -m tests.bench.costly_bodies`` prints one JSON object.

One client sends 20 of them a second, from a process of its own: what is unpacked to 10 MB, and 10 MB of JSON, of a form
and of multipart, each of as many values as there may be; without a token and with one. Meanwhile /livez is asked for on
another connection, and before that while nothing else happens.
"""

import argparse
import asyncio
import gzip
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle
from typing import Any

import aiohttp
import asyncpg

from service.domain.brackets import MAX_VALUES
from service.runtime import logs
from tests.bench.environment import fresh_settings, print_report
from tests.bench.institution import Institution
from tests.bench.pace import paced, percentile, set_after
from tests.bench.progress import log
from tests.support.processes import installation

PER_SECOND = 20  # costly bodies
_PROBES = 50  # of /livez, a second
LARGEST = 9_999_000  # bytes, just below what a gateway takes
_BYTES = LARGEST // (MAX_VALUES - 1)  # of a value


@dataclass(frozen=True)
class Costly:
    """A body, and what says how to read it."""

    headers: Mapping[str, str]
    body: bytes


def _json(values: int) -> Costly:
    value = b'"' + b"\\u0041" * ((_BYTES - 3) // 6) + b'"'
    return Costly({"Content-Type": "application/json"}, b'{"a":[' + b",".join([value] * (values - 1)) + b"]}")


def _packed(values: int) -> Costly:
    plain = _json(values)
    return Costly({**plain.headers, "Content-Encoding": "gzip"}, gzip.compress(plain.body))


def _form(values: int) -> Costly:
    value = b"a[]=" + b"%41" * ((_BYTES - 5) // 3)
    return Costly({"Content-Type": "application/x-www-form-urlencoded"}, b"&".join([value] * values))


def _multipart(values: int) -> Costly:
    head = b'--b\r\nContent-Disposition: form-data; name="a[]"\r\n\r\n'
    part = head + b"x" * (_BYTES - len(head) - 2) + b"\r\n"
    return Costly({"Content-Type": "multipart/form-data; boundary=b"}, part * values + b"--b--\r\n")


KINDS: Mapping[str, Callable[[int], Costly]] = {
    "packed": _packed,
    "json": _json,
    "form": _form,
    "multipart": _multipart,
}


def send_costly(url: str, token: str | None, kinds: Sequence[str], size: int, seconds: float) -> Mapping[int, int]:
    """Sends such bodies in turn for so long; how many answers had which status, and 0 for connections that broke.

    In a process of its own, whose work a gateway would not find on its machine: it takes what is left of that.
    """
    os.nice(19)
    return asyncio.run(
        _send_costly(url, token, [KINDS[kind](min(size // _BYTES, MAX_VALUES - 1)) for kind in kinds], seconds)
    )


async def _send_costly(url: str, token: str | None, bodies: Sequence[Costly], seconds: float) -> Mapping[int, int]:
    answers: Counter[int] = Counter()
    turn = cycle(bodies)

    async def send() -> None:
        costly, status = next(turn), 0
        headers = dict(costly.headers) | ({"Authorization": f"Bearer {token}"} if token else {})
        with suppress(aiohttp.ClientError, ConnectionError):
            target = f"{url}/api/v1/conversations"
            async with session.post(target, headers=headers, data=BytesIO(costly.body)) as answer:
                status = answer.status
        answers[status] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await paced(send, per_second=PER_SECOND, done=await set_after(seconds))
    return answers


async def measure(
    url: str, token: str, *, seconds: float, size: int = LARGEST, kinds: Sequence[str] = tuple(KINDS)
) -> dict[str, float]:
    """Milliseconds of /livez, idle and while bodies of ``size`` bytes come for some seconds and are worked off."""
    loop = asyncio.get_running_loop()
    meanwhile: list[float] = []
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            async with session.get(f"{url}/livez") as answer:
                assert answer.status == 200

        figures = _figures("livez_idle", await paced(ask, per_second=_PROBES, done=await set_after(seconds)))
        log(f"  idle: {figures}")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as client:
            for who, known_by in (("without a token", None), ("with a token", token)):
                done = asyncio.Event()
                probing = asyncio.create_task(paced(ask, per_second=_PROBES, done=done))
                answers = await loop.run_in_executor(client, send_costly, url, known_by, kinds, size, seconds)
                done.set()
                found = await probing
                log(f"  {who}: answers {dict(answers)}, {_figures('livez', found)}")
                meanwhile += found
    return figures | _figures("livez_beside_costly_bodies", meanwhile)


def _figures(name: str, seconds: Sequence[float]) -> dict[str, float]:
    parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"{name}_{part}_ms": round(percentile(seconds, share) * 1000, 2) for part, share in parts.items()}


async def _main(seconds: float, kinds: Sequence[str]) -> dict[str, Any]:
    async with fresh_settings() as settings, installation(settings, fresh=True) as clarion:
        logs.configure(settings.model_copy(update={"log_level": "warning"}))
        conn = await asyncpg.connect(str(settings.database_url))
        institution = Institution(conn)
        await institution.open()
        (user,) = await institution.users(1)
        token = await institution.token(user)
        await conn.close()
        await clarion.api()
        return await measure(clarion.url, token, seconds=seconds, kinds=kinds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.costly_bodies", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for which they are sent")
    parser.add_argument("--kind", action="append", choices=KINDS, help="all of them")
    asked = parser.parse_args()
    print_report(_main(asked.seconds, asked.kind or tuple(KINDS)))
