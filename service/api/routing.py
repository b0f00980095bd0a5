"""From a method and a path to a handler, as Rails does it (canvas/conventions.md 1).

Every path also takes ``.json``; HEAD is GET; a POST may say that it means another method; a path that is
known under other methods only is as unknown as any (404, never 405).
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from service.api.keys import SETTINGS
from service.api.parameters import is_form, read_parameters
from service.domain.errors import Code, Refusal
from service.domain.ids import localised, parse_id

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
# Of which documented path of Canvas a path here is a case: its scope opens it as well (canvas/conventions.md 2).
_CANVAS_PATHS = {"/api/v1/users/self": "/api/v1/users/:id"}
_PLACEHOLDER = re.compile(r"\{(\w+)[^}]*\}")


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One path with its handlers. template: ``/api/v1/conversations/:id``, as in token scopes."""

    template: str
    handlers: dict[str, Handler]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Hand the request to the handler of its effective method."""
        return await self.handlers[_verb(request[METHOD])](request)


ENDPOINT: web.RequestKey[Endpoint] = web.RequestKey("endpoint")
METHOD: web.RequestKey[str] = web.RequestKey("method")  # after _method and X-HTTP-Method-Override


def _verb(method: str) -> str:
    return hdrs.METH_GET if method == hdrs.METH_HEAD else method


def register(app: web.Application, routes: Iterable[web.RouteDef]) -> None:
    """Put the routes of all modules on the application, joined by path."""
    by_path: defaultdict[str, dict[str, Handler]] = defaultdict(dict)
    for route in routes:
        by_path[route.path][route.method] = route.handler
    for path, handlers in by_path.items():
        answer = Endpoint(_PLACEHOLDER.sub(r":\1", path), handlers).answer
        # The longer form first: a placeholder at the end would swallow the suffix.
        app.router.add_route(hdrs.METH_ANY, f"{path}.json", answer)
        app.router.add_route(hdrs.METH_ANY, path, answer)


async def _effective_method(request: web.Request) -> str:
    if request.method != hdrs.METH_POST:
        return request.method
    meant = request.headers.get("X-HTTP-Method-Override")
    if is_form(request) and request.can_read_body:
        meant = (await read_parameters(request)).get("_method") or meant
    meant = meant.upper() if isinstance(meant, str) else ""
    return meant if meant in _METHODS else request.method


@web.middleware
async def choose_endpoint(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note the endpoint and the effective method on the request; Refusal(NOT_FOUND) without a handler."""
    endpoint = getattr(request.match_info.handler, "__self__", None)
    if not isinstance(endpoint, Endpoint):
        raise Refusal(Code.NOT_FOUND)
    request[ENDPOINT] = endpoint
    method = request[METHOD] = await _effective_method(request)
    if _verb(method) not in endpoint.handlers:
        raise Refusal(Code.NOT_FOUND)
    return await handler(request)


def scopes_of(request: web.Request) -> frozenset[str]:
    """The scopes of which a limited token needs one here: ``url:GET|/api/v1/conversations/:id``."""
    template = request[ENDPOINT].template
    return frozenset(
        f"url:{_verb(request[METHOD])}|{path}" for path in (template, _CANVAS_PATHS.get(template, template))
    )


def path_id(request: web.Request, name: str = "id") -> int:
    """The id in the path; Refusal(NOT_FOUND) for anything that cannot be one."""
    return required_id(localised(request.match_info[name], request.app[SETTINGS].shard_id))


def required_id(text: str) -> int:
    """The id that a text writes; Refusal(NOT_FOUND) for anything that cannot be one (conventions.md 7)."""
    id_ = parse_id(text)
    if id_ is None:
        raise Refusal(Code.NOT_FOUND)
    return id_
