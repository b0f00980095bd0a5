"""The parameters of a request, in whichever encoding they came (canvas/conventions.md 1)."""

from typing import Any

from aiohttp import hdrs, web

from service.api.keys import SETTINGS
from service.domain.encodings import read_form, read_json, read_multipart
from service.domain.errors import Code, Refusal, unreadable

PARAMETERS: web.RequestKey[dict[str, Any]] = web.RequestKey("parameters")  # as they came, once they are read

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def is_form(request: web.Request) -> bool:
    """Whether the body is a form; one without a type counts as one, as it does for Rack."""
    return hdrs.CONTENT_TYPE not in request.headers or request.content_type in {FORM, MULTIPART}


def query_of(request: web.Request) -> bytes:
    """The query string as it was sent."""
    return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")


async def _read_body(request: web.Request) -> bytes:
    limit = request.app[SETTINGS].max_body_bytes
    if request.content_length is not None and request.content_length > limit:
        raise Refusal(Code.TOO_LARGE)
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refusal(Code.TOO_LARGE) from None
    except web.RequestPayloadError:
        raise unreadable("The body does not follow its own encoding.") from None


def _parse_body(request: web.Request, raw: bytes) -> dict[str, Any]:
    kind = request.content_type
    if kind == "application/json" or kind.endswith("+json"):
        return read_json(raw)
    if kind == MULTIPART:
        return read_multipart(raw, request.headers[hdrs.CONTENT_TYPE])
    if is_form(request):
        return read_form(raw)
    raise unreadable(f"A body must be application/json, {FORM} or {MULTIPART}.")


async def read_parameters(request: web.Request) -> dict[str, Any]:
    """Query and body as one nested value, body over query; read once per request, and then in request[PARAMETERS].

    Refuses with BAD_REQUEST what cannot be read and with TOO_LARGE a body over the limit, which is then not
    read to its end. Nothing a client sends makes it raise anything else.
    """
    if PARAMETERS in request:
        return request[PARAMETERS]
    query = query_of(request)
    parameters = read_form(query) if query else {}
    if request.can_read_body:
        raw = await _read_body(request)
        if raw:
            parameters |= _parse_body(request, raw)
    request[PARAMETERS] = parameters
    return parameters
