"""Probes and figures on a port of their own: a worker's, or a gateway's figures that not every client may see."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import hdrs, web

from service.runtime.metrics import CONTENT_TYPE, ProcessKind, exposition
from service.runtime.readiness import Readiness

_SILENCE = 60.0  # seconds after which a connection that asks nothing is closed
_SHUTDOWN = 1.0  # seconds that answers under way have when the process stops


class ProbeServer:
    """Listens from ``start`` to ``stop``. ``count`` sets what is not counted where it happens, before each answer."""

    def __init__(
        self, readiness: Readiness, process: ProcessKind, *, count: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._readiness = readiness
        self._process = process
        self._count = count or readiness.count
        self._runner: web.AppRunner | None = None

    async def start(self, *, host: str, port: int, figures_only: bool = False) -> None:
        """Answers /metrics, and without ``figures_only`` /livez and /readyz."""
        app = web.Application()
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/metrics", self._metrics)
        if not figures_only:
            app.router.add_get("/livez", _livez)
            app.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=_SILENCE, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, host, port).start()

    async def stop(self) -> None:
        """Closes the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _readyz(self, _: web.Request) -> web.Response:
        report = await self._readiness.report()
        return _json(report.body, report.status)

    async def _metrics(self, _: web.Request) -> web.Response:
        await self._count()
        return web.Response(body=exposition(self._process), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


async def _livez(_: web.Request) -> web.Response:
    return _json({"status": "ok"})


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", charset="utf-8")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = "clarion"
