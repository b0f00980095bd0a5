"""One request to a million: ``python -m tests.bench.million`` prints one JSON object.

The same send to everybody and to a tenth of them, in turns, on empty tables, each by a gateway and two workers that
were just started, with default settings: what ten times the recipients cost in time until the answer, in the rate at
which they are written, and in the memory of each process, the first events' publishing included.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import aiohttp
import asyncpg

from service.runtime import logs
from service.runtime.settings import Settings
from tests.bench.environment import checkpoint, empty, forget_events, fresh_settings, print_report, relayed, settle
from tests.bench.events import queue_of_all_events
from tests.bench.institution import Course, Institution
from tests.bench.progress import log
from tests.bench.resources import peak_memory
from tests.bench.sending import Sent, send
from tests.support.processes import Client, Process, installation

ROWS_RELAYED = 10  # after each send, before memory is read; for all of them the broker needs minutes


@dataclass(frozen=True)
class Sizes:
    """How much is sent; ``tenth`` to one course, ten times as many to the other."""

    tenth: int = 100_000
    rounds: int = 3
    warm_up: int = 5_000


QUICK = Sizes(tenth=100, rounds=1, warm_up=20)


@dataclass(frozen=True)
class Cost:
    """A send, and the most bytes that its gateway and the larger of its workers have had in memory."""

    sent: Sent
    api: int
    worker: int

    @property
    def written_per_second(self) -> float:
        """Recipients a second from the answer to the last inbox."""
        return self.sent.recipients / (self.sent.finished_after - self.sent.accepted_after)


@dataclass
class Surroundings:
    """What all sends share."""

    conn: asyncpg.Connection
    settings: Settings
    session: aiohttp.ClientSession
    token: str
    warm_up: Course

    async def cost(self, course: Course) -> Cost:
        """That of one send on empty tables by processes of its own."""
        await empty(self.conn)
        await settle(self.conn)
        async with self._processes() as (url, api, *workers), queue_of_all_events(self.settings):
            client = Client(self.session, url, self.token)
            await send(self.conn, client, self.warm_up)
            await forget_events(self.conn)
            await checkpoint(self.conn)
            sent = await send(self.conn, client, course)
            log(
                f"  {sent.recipients:,}: accepted after {sent.accepted_after:.2f} s, all at {sent.finished_after:.2f} s"
            )
            await relayed(self.conn, rows=ROWS_RELAYED)
            found = Cost(sent, peak_memory(api.pid), max(peak_memory(worker.pid) for worker in workers))
        log(f"  {found.written_per_second:,.0f} a second; {found.api / 1e6:.0f} and {found.worker / 1e6:.0f} MB")
        return found

    @asynccontextmanager
    async def _processes(self) -> AsyncIterator[tuple[str, Process, Process, Process]]:
        async with installation(self.settings, fresh=True) as clarion:
            api, first, second = await asyncio.gather(clarion.api(), clarion.worker(), clarion.worker())
            yield clarion.url, api, first, second
            await asyncio.gather(*(process.stop() for process in clarion.processes))


async def measure(sizes: Sizes) -> dict[str, float]:
    """Medians of the rounds; ratios are those of everybody to a tenth."""
    log(f"one request to {sizes.tenth * 10:,} and to {sizes.tenth:,}")
    async with (
        fresh_settings() as settings,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        conn = await asyncpg.connect(str(settings.database_url), command_timeout=1800)
        institution = Institution(conn)
        await institution.open()
        everybody = await institution.course(sizes.tenth * 10)
        tenth = await institution.course_of(everybody.teacher, everybody.students[: sizes.tenth])
        warm_up = await institution.course_of(everybody.teacher, everybody.students[: sizes.warm_up])
        token = await institution.token(everybody.teacher)
        sends = Surroundings(conn, settings, session, token, warm_up)
        turns = [(await sends.cost(tenth), await sends.cost(everybody)) for _ in range(sizes.rounds)]
        await conn.close()
    return _figures([few for few, _ in turns], [many for _, many in turns])


def _figures(few: Sequence[Cost], many: Sequence[Cost]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, costs in (("hundred_thousand", few), ("million", many)):
        figures |= {
            f"{name}_accept_seconds": median(cost.sent.accepted_after for cost in costs),
            f"{name}_seconds": median(cost.sent.finished_after for cost in costs),
            f"{name}_written_per_second": median(cost.written_per_second for cost in costs),
            f"{name}_peak_megabytes_api": median(cost.api for cost in costs) / 1e6,
            f"{name}_peak_megabytes_worker": median(cost.worker for cost in costs) / 1e6,
        }

    def ratio(what: str) -> float:
        return figures[f"million_{what}"] / figures[f"hundred_thousand_{what}"]

    return figures | {
        "million_accept_to_ten_times": ratio("accept_seconds") / 10,
        "million_rate_to_hundred_thousand": ratio("written_per_second"),
        "million_memory_api_to_hundred_thousand": ratio("peak_megabytes_api"),
        "million_memory_worker_to_hundred_thousand": ratio("peak_megabytes_worker"),
    }


async def _main(sizes: Sizes) -> dict[str, Any]:
    logs.configure(Settings(log_level="warning", database_url="postgresql://-/", amqp_url="amqp://-/"))
    return {name: round(value, 4) for name, value in (await measure(sizes)).items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.million", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    parser.add_argument("--tenth", type=int, help="recipients of the smaller send")
    parser.add_argument("--rounds", type=int)
    asked = vars(parser.parse_args())
    base = QUICK if asked.pop("quick") else Sizes()
    print_report(_main(replace(base, **{name: value for name, value in asked.items() if value is not None})))
