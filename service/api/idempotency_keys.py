"""The header Idempotency-Key, on any POST or PUT (CONTRACT 3.2 and 3.6; service/application/idempotency_keys.py).

No route does anything for it: its handler runs in the transaction that has claimed the key, and gets that one's
connection wherever it asks for one; its answer is stored there too, and its commands are published after the commit.
"""

from functools import partial

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from service.api.authentication import caller
from service.api.database import one_connection
from service.api.deadline import DEADLINE
from service.api.parameters import PARAMETERS
from service.api.publish import hold_commands, publish
from service.api.responses import JSON_HEADERS
from service.api.routing import METHOD, in_api
from service.application.idempotency_keys import Handled, KeyedRequest, once
from service.contracts.requests import REPLAYED
from service.domain.errors import invalid
from service.domain.idempotency_keys import ATTRIBUTE, fingerprint, read_key
from sql.idempotency_keys import KeptAnswer

HEADER = "Idempotency-Key"
METHODS = frozenset({hdrs.METH_POST, hdrs.METH_PUT})
_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


@web.middleware
async def answer_once(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Carries a request with a key out once, and gives its first answer again to those that repeat it.

    The caller is known, so the throttle and all that is refused to anybody come before. Refuses an unusable key, one
    whose request is still running, and one of another request.
    """
    headers = request.headers.getall(HEADER, ()) if _takes_key(request) else ()
    if not headers:
        return await handler(request)
    if len(headers) > 1:
        raise invalid(ATTRIBUTE, "invalid")
    key = read_key(headers[0])
    structlog.contextvars.bind_contextvars(idempotency_key=key)
    path, parameters = request.path.removesuffix(".json"), request[PARAMETERS]
    asked = KeyedRequest(caller(request).user_id, key, fingerprint(request[METHOD], path, parameters))
    async with one_connection(request) as conn:
        handled = await once(conn, asked, partial(_carry_out, request, handler), waits=False)
        request[DEADLINE].lift()
    for command in handled.commands:
        publish(request.app, command)
    return _answer(handled)


def _takes_key(request: web.Request) -> bool:
    """A POST that means another method too, unless it only reads."""
    return in_api(request) and request.method in METHODS and request[METHOD] not in _READING


async def _carry_out(request: web.Request, handler: Handler) -> Handled:
    held = hold_commands(request)
    response = await handler(request)
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes | None):
        raise TypeError("an answer that is not there as a whole cannot be kept")
    own = {str(name): value for name, value in response.headers.items() if JSON_HEADERS.get(name) != value}
    return Handled(KeptAnswer(response.status, own, response.body or b""), held)


def _answer(handled: Handled) -> web.Response:
    """The first one is made of what is kept, like all that follow it."""
    kept = handled.answer
    usual = JSON_HEADERS if kept.body else {}
    again = {REPLAYED: "true"} if handled.replayed else {}
    return web.Response(body=kept.body or None, status=kept.status, headers={**usual, **kept.headers, **again})
