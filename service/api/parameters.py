"""The parameters of a request, in whichever encoding they came (canvas/conventions.md 1).

A body is read once it is known who sends it, or as far as a token may stand in it; what is long is parsed in a process
of its own (parser.py), so that the event loop goes on answering others.
"""

import asyncio
from typing import Any

import structlog
from aiohttp import hdrs, web

from service.api.deadline import DEADLINE
from service.api.keys import SETTINGS
from service.api.metering import METER
from service.api.parser import Parser
from service.api.places import CLIENT, PLACES
from service.domain.encodings import Encoding, read_body, read_form
from service.domain.errors import Code, Refusal, unreadable

PARAMETERS: web.RequestKey[dict[str, Any]] = web.RequestKey("parameters")  # as they came, once they are read
BODY: web.RequestKey[dict[str, Any]] = web.RequestKey("body")  # those of them that the body brought
_QUERY: web.RequestKey[dict[str, Any]] = web.RequestKey("query")
PARSER = web.AppKey("parser", Parser)

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

MAX_UNKNOWN = 65_536  # bytes that are read of the body of a caller who is not known yet
_INLINE = 16_384  # bytes; parsing more takes longer than handing it to another process and back

log = structlog.get_logger(__name__)


class Disconnected(Exception):
    """The client has gone, or has not sent the whole of its body in time: no answer is waited for."""


async def close_parser(app: web.Application) -> None:
    """Nothing is left to parse when the gateway stops."""
    await app[PARSER].close()


def is_form(request: web.Request) -> bool:
    """Whether the body is a form; one without a type counts as one, as it does for Rack."""
    return hdrs.CONTENT_TYPE not in request.headers or request.content_type in {FORM, MULTIPART}


def takes_body(request: web.Request) -> bool:
    """Whether there is a body that counts: parameters of a GET come from the query only (CONTRACT 6.24)."""
    return request.method not in {hdrs.METH_GET, hdrs.METH_HEAD} and request.can_read_body


def query_of(request: web.Request) -> bytes:
    """The query string as it was sent."""
    return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")


def query_parameters(request: web.Request) -> dict[str, Any]:
    """The parameters in the query; Refusal(BAD_REQUEST) when it cannot be read."""
    if _QUERY not in request:
        query = query_of(request)
        request[_QUERY] = read_form(query) if query else {}
    return request[_QUERY]


async def read_parameters(request: web.Request, *, limit: int | None = None) -> dict[str, Any]:
    """Query and body as one nested value, body over query; read once per request, and then in request[PARAMETERS].

    Refuses with BAD_REQUEST what cannot be read, with TOO_LARGE a body over the limit (bytes; the installation's when
    none is named), which is then not read to its end, and with UNSUPPORTED_ENCODING one that would have to be
    unpacked. Disconnected when the body does not come; nothing a client sends makes it raise anything else.
    """
    if PARAMETERS in request:
        return request[PARAMETERS]
    parameters = query_parameters(request)
    request[BODY] = {}
    if takes_body(request):
        raw = await _read_body(request, request.app[SETTINGS].max_body_bytes if limit is None else limit)
        if raw:
            request[BODY] = await _parsed(request, raw)
    request[PARAMETERS] = parameters = parameters | request[BODY]
    return parameters


async def _read_body(request: web.Request, limit: int) -> bytearray:
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        raise Refusal(Code.UNSUPPORTED_ENCODING)
    if request.content_length is not None and request.content_length > limit:
        raise Refusal(Code.TOO_LARGE)
    body, patience = bytearray(), request.app[SETTINGS].silence
    try:
        with request[DEADLINE].suspended():  # how long a body takes is the client's doing
            async with asyncio.timeout(patience):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > limit:
                        raise Refusal(Code.TOO_LARGE)
    except web.RequestPayloadError:
        raise unreadable("The body does not follow its own encoding.") from None
    except (ConnectionError, TimeoutError) as error:
        log.info("body_incomplete", error=type(error).__name__, bytes=len(body))
        raise Disconnected from error
    return body


async def _parsed(request: web.Request, raw: bytearray) -> dict[str, Any]:
    encoding, content_type = _encoding(request), request.headers.get(hdrs.CONTENT_TYPE, "")
    if len(raw) <= _INLINE:
        return read_body(encoding, content_type, bytes(raw))
    unknown = b""
    async with request.app[PLACES].parsing(request.get(CLIENT, unknown), len(raw)):
        parameters, seconds = await request.app[PARSER].parse(encoding, content_type, raw)
    request[METER].add(seconds)
    return parameters


def _encoding(request: web.Request) -> Encoding:
    kind = request.content_type
    if kind == "application/json" or kind.endswith("+json"):
        return Encoding.JSON
    if kind == MULTIPART:
        return Encoding.MULTIPART
    if is_form(request):
        return Encoding.FORM
    raise unreadable(f"A body must be application/json, {FORM} or {MULTIPART}.")
