"""Threads that are there already: ``python -m tests.bench.reuse`` prints one JSON object.

In each round private messages to the same people: into new threads on empty tables, into the same threads right after
that, while the relay publishes the first one's events, and once more when nothing is left to relay. Private messages to
so many need CLARION_MAX_BULK_PRIVATE_RECIPIENTS; all else is default.
"""

import argparse
import asyncio
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import aiohttp
import asyncpg

from service.runtime import logs
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.bench.environment import checkpoint, empty, forget_events, fresh_settings, print_report, settle
from tests.bench.events import queue_of_all_events
from tests.bench.institution import Course, Institution
from tests.bench.progress import log
from tests.bench.sending import Sent, send
from tests.support.processes import Client, installation


async def measure(
    conn: Connection,
    settings: Settings,
    warm_up: Course,
    course: Course,
    client: Callable[[Course], Client],
    *,
    rounds: int,
) -> dict[str, float]:
    """Medians of the rounds, the ratios those of each round; ``client`` makes one of a course's teacher."""
    turns = [await _round(conn, settings, warm_up, course, client) for _ in range(rounds)]
    new = median(first.rate for first, _, _ in turns)
    return {
        "private_per_second": new,
        "private_wal_bytes_per_recipient": median(first.wal / first.recipients for first, _, _ in turns),
        "reuse_wal_bytes_per_recipient": median(idle.wal / idle.recipients for _, _, idle in turns),
        "reuse_while_relaying_to_new": median(busy.rate / first.rate for first, busy, _ in turns),
        "reuse_to_new": median(idle.rate / first.rate for first, _, idle in turns),
    }


async def _round(
    conn: Connection, settings: Settings, warm_up: Course, course: Course, client: Callable[[Course], Client]
) -> tuple[Sent, Sent, Sent]:
    """Statistics are gathered before the warm-up, because PostgreSQL plans every statement anew after that."""
    await empty(conn)
    await settle(conn)
    await send(conn, client(warm_up), warm_up, private=True)
    await forget_events(conn)
    await checkpoint(conn)
    async with queue_of_all_events(settings):
        new = await send(conn, client(course), course, private=True)
        busy = await send(conn, client(course), course, private=True)
        await forget_events(conn)
        idle = await send(conn, client(course), course, private=True)
    await forget_events(conn)
    log(f"  new threads {new.rate:,.0f} a second, reused {busy.rate:,.0f} while relaying, then {idle.rate:,.0f}")
    return new, busy, idle


async def _main(recipients: int, rounds: int) -> dict[str, Any]:
    async with (
        fresh_settings() as settings,
        installation(settings, fresh=True) as clarion,
        aiohttp.ClientSession() as session,
    ):
        logs.configure(settings.model_copy(update={"log_level": "warning"}))
        conn = await asyncpg.connect(str(settings.database_url), command_timeout=1800)
        institution = Institution(conn)
        await institution.open()
        warm_up, course = await institution.course(recipients // 20), await institution.course(recipients)
        tokens = {each.id: await institution.token(each.teacher) for each in (warm_up, course)}
        await asyncio.gather(clarion.api(), clarion.worker(), clarion.worker())
        connect = partial(Client, session, clarion.url)
        figures = await measure(conn, settings, warm_up, course, lambda each: connect(tokens[each.id]), rounds=rounds)
        await conn.close()
        return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reuse", description=__doc__)
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print_report(_main(asked.recipients, asked.rounds))
