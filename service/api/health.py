"""Is the process up, is it of use, and how is it doing (CONTRACT 2)."""

import asyncio
from typing import Literal

import asyncpg
from aiohttp import hdrs, web

from service.api.description import Outcome, Tag, describe
from service.api.keys import BROKER, POOL
from service.api.responses import respond
from service.application.presentation.shapes import Health
from service.runtime.metrics import CONTENT_TYPE, exposition
from service.runtime.postgres import UNAVAILABLE
from sql.health import database_answers

PATIENCE = 2.0  # seconds; probes have time-outs of their own


async def _database_answers(request: web.Request) -> bool:
    try:
        async with asyncio.timeout(PATIENCE), request.app[POOL].acquire(timeout=PATIENCE) as conn:
            await database_answers(conn)
    except (*UNAVAILABLE, asyncpg.PostgresError):
        return False
    return True


@describe("Is the process up?", {200: Outcome("It is.", Health)}, tag=Tag.SERVICE)
async def livez(request: web.Request) -> web.Response:
    """200 as long as the process answers at all."""
    return respond(request, {"status": "ok"})


@describe(
    "Is the service of use?",
    {200: Outcome("It is.", Health), 503: Outcome("It is not, and why.", Health)},
    tag=Tag.SERVICE,
)
async def readyz(request: web.Request) -> web.Response:
    """200 when the database answers and the broker is connected, else 503 and which of them fails.

    Exchanges and queues that are not as they should be are named in any case: some stop only a part of the service.
    """
    failing: list[Literal["database", "broker"]] = [] if await _database_answers(request) else ["database"]
    broker = request.app[BROKER]
    if not broker.connected:
        failing.append("broker")
    shown: Health = {"status": "unavailable", "failing": failing} if failing else {"status": "ok"}
    if broker.faults:
        shown["topology"] = [str(fault) for fault in broker.faults]
    return respond(request, shown, 503 if failing else 200)


@describe("Figures for Prometheus", {200: Outcome("Its text format.", str, "text/plain")}, tag=Tag.SERVICE)
async def metrics(_request: web.Request) -> web.Response:
    """Prometheus's text format."""
    return web.Response(body=exposition(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


routes = [
    web.get("/livez", livez),
    web.get("/readyz", readyz),
    web.get("/metrics", metrics),
]
