"""How much one gateway reads out a second: ``python -m tests.bench.reading_rate`` prints one JSON object.

Eight users on a connection each ask for their unread count or for a page of their inbox, one request after the other;
in turns with them eight connections ask a bare aiohttp handler (bare_handler.py) for the very same count. Each of the
gateway, the handler and the clients has a process. Beside the rates stands the processor time of a request in the
process that answers it, which depends less on what else the machine does.
"""

import argparse
import asyncio
import multiprocessing
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import asyncpg

from service.runtime import logs
from service.runtime.settings import Settings
from tests.bench.bare_handler import serve
from tests.bench.environment import fresh_settings, print_report, settle
from tests.bench.institution import Institution
from tests.bench.keep_alive import ask, request
from tests.bench.pace import percentile
from tests.bench.progress import log
from tests.bench.resources import cpu_seconds
from tests.support.processes import installation

_CONNECTIONS = 8
_THREADS = 25  # of each user; a page shows ten
_PATHS = {"unread_count": "/api/v1/conversations/unread_count", "list_page": "/api/v1/conversations"}
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Sizes:
    """How long is asked."""

    seconds: float = 3.0  # for each kind of request, in each round
    rounds: int = 3
    warm_up: float = 1.0


QUICK = Sizes(seconds=0.2, rounds=1, warm_up=0.1)


@dataclass(frozen=True)
class Asked:
    """What is asked of which process."""

    port: int
    pid: int
    requests: Sequence[bytes]  # of each connection


@dataclass(frozen=True)
class Turn:
    """What one turn has found."""

    per_second: float
    cpu_microseconds: float  # of a request
    seconds: Sequence[float]


@contextmanager
def bare_handler(settings: Settings, user_id: int) -> Iterator[Asked]:
    """The handler, in a process that ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url, size = str(settings.database_url), settings.database_pool_size
        process = _SPAWN.Process(target=serve, args=(listening, url, size, user_id))
        process.start()
        try:
            assert process.pid is not None
            yield Asked(listening.getsockname()[1], process.pid, [request("/")] * _CONNECTIONS)
        finally:
            process.kill()
            process.join()


async def measure(
    sizes: Sizes, settings: Settings, institution: Institution, conn: asyncpg.Connection, *, port: int, pid: int
) -> dict[str, float]:
    """Rates, their ratios to the bare handler's, milliseconds and processor time, of the gateway that is named."""
    readers, authors = await institution.users(_CONNECTIONS), await institution.users(_THREADS)
    for author in authors:
        await institution.threads([author] * len(readers), readers)
    tokens = await institution.tokens(readers)
    await settle(conn)
    with bare_handler(settings, readers[0]) as bare, ProcessPoolExecutor(1, _SPAWN) as clients:
        asked = {"bare": bare} | {
            name: Asked(port, pid, [request(path, token) for token in tokens]) for name, path in _PATHS.items()
        }
        for each in asked.values():
            await _turn(clients, each, sizes.warm_up)
        rounds = [
            {name: await _turn(clients, each, sizes.seconds) for name, each in asked.items()}
            for _ in range(sizes.rounds)
        ]
    figures = _figures(rounds)
    log("  " + ", ".join(f"{name} {value:,.2f}" for name, value in figures.items()))
    return figures


async def _turn(clients: ProcessPoolExecutor, asked: Asked, seconds: float) -> Turn:
    loop = asyncio.get_running_loop()
    began, cpu = loop.time(), cpu_seconds(asked.pid)
    answered = await loop.run_in_executor(clients, ask, asked.port, asked.requests, seconds)
    spent, cpu = loop.time() - began, cpu_seconds(asked.pid) - cpu
    return Turn(len(answered) / spent, cpu / len(answered) * 1e6, answered)


def _figures(rounds: Sequence[Mapping[str, Turn]]) -> dict[str, float]:
    """Medians over the rounds: the machine's own speed drifts between them."""
    figures: dict[str, float] = {}
    for name in rounds[0]:
        turns = [turns[name] for turns in rounds]
        p50s, p99s = ([percentile(turn.seconds, share) * 1000 for turn in turns] for share in (0.5, 0.99))
        figures |= {
            f"{name}_requests_per_second": median(turn.per_second for turn in turns),
            f"{name}_cpu_microseconds": median(turn.cpu_microseconds for turn in turns),
            f"{name}_p50_ms": median(p50s),
            f"{name}_p99_ms": median(p99s),
            f"{name}_p99_to_p50": median(p99 / p50 for p50, p99 in zip(p50s, p99s, strict=True)),
        }
    return figures | {
        f"{name}_to_bare": median(turns[name].per_second / turns["bare"].per_second for turns in rounds)
        for name in _PATHS
    }


async def _main(sizes: Sizes) -> dict[str, float]:
    async with fresh_settings() as settings, installation(settings) as clarion:
        logs.configure(settings.model_copy(update={"log_level": "warning"}))
        conn = await asyncpg.connect(str(settings.database_url))
        institution = Institution(conn)
        await institution.open()
        api = await clarion.api()
        figures = await measure(sizes, settings, institution, conn, port=clarion.settings.port, pid=api.pid)
        await conn.close()
        return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reading_rate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a moment of each, to see that everything works")
    print_report(_main(QUICK if parser.parse_args().quick else Sizes()))
