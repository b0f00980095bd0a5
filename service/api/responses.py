"""JSON answers (canvas/conventions.md 1, 5, 6, 10)."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web

from service.domain.string_ids import with_string_ids

_JSON = "application/json; charset=utf-8"
_FRESH = "max-age=0, private, must-revalidate"
_STRING_IDS = "application/json+canvas-string-ids"
# datetimes: whole seconds and a Z, as service.domain.dates.iso writes them
_OPTIONS = orjson.OPT_OMIT_MICROSECONDS | orjson.OPT_UTC_Z


def respond(
    request: web.Request, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer in JSON. ``body`` may contain datetimes in UTC; ids become strings if the client asks."""
    if _STRING_IDS in request.headers.get(hdrs.ACCEPT, ""):
        body = with_string_ids(body)
    return web.Response(
        body=orjson.dumps(body, option=_OPTIONS),
        status=status,
        headers={hdrs.CONTENT_TYPE: _JSON, hdrs.CACHE_CONTROL: _FRESH, **(headers or {})},
    )
