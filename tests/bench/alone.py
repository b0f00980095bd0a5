"""One part of the benchmark by itself: a new database, a gateway, two workers, and a course that is written to."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import aiohttp
import asyncpg

from service.runtime import logs
from sql.connection import Connection
from tests.bench.environment import fresh_settings
from tests.bench.institution import Course, Institution
from tests.support.processes import Client, installation

WORKERS = 2

S = TypeVar("S")

# Of a part: its sizes, a connection, the institution, the course, and what makes a client of a token.
Measure = Callable[[S, Connection, Institution, Course, Callable[[str], Client]], Awaitable[dict[str, float]]]


async def measured_alone(measure: Measure[S], sizes: S, recipients: int) -> dict[str, float]:
    """The figures of a part, with a course of so many students."""
    async with (
        fresh_settings() as settings,
        installation(settings, fresh=True) as clarion,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        logs.configure(settings.model_copy(update={"log_level": "warning"}))
        conn = await asyncpg.connect(str(settings.database_url), command_timeout=1800)
        institution = Institution(conn)
        await institution.open()
        course = await institution.course(recipients)
        await asyncio.gather(clarion.api(), *(clarion.worker() for _ in range(WORKERS)))
        figures = await measure(sizes, conn, institution, course, partial(Client, session, clarion.url))
        await conn.close()
        return figures
