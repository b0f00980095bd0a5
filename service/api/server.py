"""Serving the application, down to requests that are no HTTP at all."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

import orjson
from aiohttp import web

from service.api.keys import SETTINGS
from service.api.responses import SAFE_HEADERS
from service.application.presentation.answer import Answer
from service.application.presentation.errors import answer_of, fault
from service.domain.errors import unreadable

# A list may be filtered by hundreds of names; aiohttp's 8 KiB would cut that short.
MAX_LINE = 65_536
MAX_HEADER = 16_384
DRAIN = 10.0  # seconds until connections are cut when the server stops; service/api/deadline.py ends requests before

# observation.py writes the access log; a body that would have to be unpacked is refused (parameters.py).
_OPTIONS: dict[str, Any] = {
    "max_line_size": MAX_LINE,
    "max_field_size": MAX_HEADER,
    "access_log": None,
    "auto_decompress": False,
}


class _Protocol(web.RequestHandler):
    """aiohttp's protocol, with Canvas's shape for what it refuses before there is a request."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The request line or a header cannot be read, or something failed outside the application."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("request failed outside the application", exc_info=exc)
            answer: Answer[object] = fault(0)
        else:
            refused = answer_of(unreadable("The request is not valid HTTP, or a line of it is too long."))
            answer = Answer(status, refused.body)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was under way when the request failed")
        body, kind = orjson.dumps(answer.body), "application/json"
        response = web.Response(
            body=body, status=answer.status, content_type=kind, charset="utf-8", headers=SAFE_HEADERS
        )
        response.force_close()
        return response


class _Runner(web.AppRunner):
    @property
    def server(self) -> web.Server | None:
        manager = super().server
        if manager is None:
            return None
        loop, silence = asyncio.get_running_loop(), self.app[SETTINGS].silence

        def protocol() -> _Protocol:
            return _Protocol(manager, loop=loop, keepalive_timeout=silence, **_OPTIONS)

        # A site only calls it, once for each connection.
        return cast("web.Server", protocol)


async def start(app: web.Application, *, host: str, port: int) -> web.AppRunner:
    """Listen; port 0 takes a free one, see ``runner.addresses``. ``runner.cleanup()`` drains and stops."""
    runner = _Runner(app, shutdown_timeout=DRAIN)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
