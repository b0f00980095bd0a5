"""Is the process up, is it of use, and how is it doing (CONTRACT 2)."""

from aiohttp import hdrs, web

from service.api.description import Outcome, Tag, describe
from service.api.figures import FIGURES
from service.api.keys import READINESS
from service.api.responses import respond
from service.application.presentation.shapes import Health
from service.runtime.metrics import CONTENT_TYPE, exposition


@describe("Is the process up?", {200: Outcome("It is.", Health)}, tag=Tag.SERVICE)
async def livez(request: web.Request) -> web.Response:
    """200 as long as the process answers at all."""
    return respond(request, {"status": "ok"})


@describe(
    "Is the service of use?",
    {
        200: Outcome("It is; degraded where it does without something that no request needs.", Health),
        503: Outcome("It is not, and why.", Health),
    },
    tag=Tag.SERVICE,
)
async def readyz(request: web.Request) -> web.Response:
    """503 when the database is away, has another schema than this code needs, or the process stops.

    The broker, and exchanges and queues that are not as they should be, are named and never make it 503.
    """
    report = await request.app[READINESS].report()
    return respond(request, report.body, report.status)


@describe("Figures for Prometheus", {200: Outcome("Its text format.", str, "text/plain")}, tag=Tag.SERVICE)
async def metrics(request: web.Request) -> web.Response:
    """Prometheus's text format."""
    await request.app[FIGURES].renew()
    return web.Response(body=exposition(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


routes = [
    web.get("/livez", livez),
    web.get("/readyz", readyz),
    web.get("/metrics", metrics),
]
