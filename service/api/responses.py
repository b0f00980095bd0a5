"""JSON answers (canvas/conventions.md 1, 5, 6, 10)."""

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from service.application.presentation.answer import encoded
from service.domain.string_ids import with_string_ids

# No version of anything is given away, and no browser guesses at a type.
SAFE_HEADERS: Mapping[str, str] = {hdrs.SERVER: "clarion", "X-Content-Type-Options": "nosniff"}

_JSON = "application/json; charset=utf-8"
FRESH = "max-age=0, private, must-revalidate"
_STRING_IDS = "application/json+canvas-string-ids"


def respond(
    request: web.Request, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer in JSON. ``body`` may contain datetimes in UTC; ids become strings if the client asks."""
    if _STRING_IDS in request.headers.get(hdrs.ACCEPT, ""):
        body = with_string_ids(body)
    return web.Response(
        body=encoded(body),
        status=status,
        headers={hdrs.CONTENT_TYPE: _JSON, hdrs.CACHE_CONTROL: FRESH, **(headers or {})},
    )
