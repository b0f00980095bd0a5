"""JSON answers (canvas/conventions.md 1, 5, 6, 10)."""

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from service.application.presentation.answer import encoded
from service.domain.string_ids import with_string_ids

# No version of anything is given away, and no browser guesses at a type.
SAFE_HEADERS: Mapping[str, str] = {hdrs.SERVER: "clarion", "X-Content-Type-Options": "nosniff"}

FRESH = "max-age=0, private, must-revalidate"
# Of every answer in JSON.
JSON_HEADERS: Mapping[str, str] = {
    hdrs.CONTENT_TYPE: "application/json; charset=utf-8",
    hdrs.CACHE_CONTROL: FRESH,
}
STRING_IDS = "application/json+canvas-string-ids"


def json_of(request: web.Request, body: Any) -> bytes:
    """The body in JSON. It may contain datetimes in UTC; ids become strings if the client asks."""
    asked = any(STRING_IDS in accepted for accepted in request.headers.getall(hdrs.ACCEPT, ()))
    return encoded(with_string_ids(body) if asked else body)


def respond(
    request: web.Request, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer in JSON (``json_of``)."""
    return web.Response(
        body=json_of(request, body),
        status=status,
        headers={**JSON_HEADERS, **(headers or {})},
    )
