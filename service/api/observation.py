"""What can be seen of a request from outside: its id, its cost, its log line and its figures."""

import time
import uuid
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from opentelemetry.trace import Span, SpanKind, StatusCode

from service.api.errors import GONE
from service.api.keys import READINESS
from service.api.metering import METER, Meter, metered
from service.api.origin import client_ip
from service.api.responses import SAFE_HEADERS
from service.api.routing import ENDPOINT, METHOD
from service.runtime.metrics import REQUEST_SECONDS, REQUESTS, REQUESTS_OPEN, REQUESTS_SLOW
from service.runtime.tracing import HEADER, Attributes, continued, span

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id")

log = structlog.get_logger()

SLOW = 1.0  # seconds from which on a request counts as slow; a stream lasts as long as its reader wants


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer (canvas/conventions.md 10), streams and errors included."""
    response.headers.update(SAFE_HEADERS)
    response.headers.setdefault("Content-Security-Policy", "frame-ancestors 'none'")
    if request.app[READINESS].draining.is_set():
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"
    response.headers["X-Request-Context-Id"] = request[REQUEST_ID]
    response.headers["X-Request-Cost"] = f"{request[METER].cost:.6f}"


def _record(request: web.Request, status: int, seconds: float, *, streamed: bool) -> None:
    endpoint = request.get(ENDPOINT)
    method = request.get(METHOD, "-")
    route = "unmatched" if endpoint is None else endpoint.template
    # A known path may be asked for with any word as method; only those it has become labels.
    label = method if endpoint is not None and method in endpoint.handlers else "-"
    REQUESTS.labels(label, route, status).inc()
    REQUEST_SECONDS.labels(label, route).observe(seconds)
    if seconds >= SLOW and not streamed:
        REQUESTS_SLOW.labels(label, route).inc()
    meter = request[METER]
    log.info(
        "request",
        method=request.method,
        path=request.path,
        route=route,
        status=status,
        client_ip=client_ip(request),
        ms=round(seconds * 1000, 2),
        cpu_ms=round(meter.cpu * 1000, 2),
        database_ms=round(meter.database * 1000, 2),
    )


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, measure it, and write one line about it when it is answered or given up."""
    # A connection's requests share one task and so one context: start from nothing.
    structlog.contextvars.clear_contextvars()
    request_id = request[REQUEST_ID] = str(uuid.uuid4())
    structlog.contextvars.bind_contextvars(request_id=request_id)
    meter = request[METER] = Meter()
    started = time.perf_counter()
    status, streamed = GONE, False
    with continued(request.headers.get(HEADER)), REQUESTS_OPEN.track_inprogress(), _span(request) as made:
        try:
            work = cast("Coroutine[Any, Any, web.StreamResponse]", handler(request))
            response = await metered(work, meter)
            status, streamed = response.status, not isinstance(response, web.Response)
            return response
        finally:
            _record(request, status, time.perf_counter() - started, streamed=streamed)
            _finish(made, request, status)


def _span(request: web.Request) -> AbstractContextManager[Span]:
    asked: Attributes = {"http.request.method": request.method, "url.path": request.path, "url.scheme": request.scheme}
    return span(request.method, SpanKind.SERVER, asked)


def _finish(made: Span, request: web.Request, status: int) -> None:
    """The route is known only now (OpenTelemetry's semantic conventions for HTTP servers)."""
    made.set_attribute("http.response.status_code", status)
    if (endpoint := request.get(ENDPOINT)) is not None:
        made.update_name(f"{request.get(METHOD, request.method)} {endpoint.template}")
        made.set_attribute("http.route", endpoint.template)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        made.set_status(StatusCode.ERROR)
