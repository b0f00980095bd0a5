"""Where a request comes from and the base of the absolute URLs that answer it (CONTRACT 6.17).

aiohttp-remotes, the library for this, refuses requests that came past the proxy, wants to know how many proxies there
are and takes no chain in X-Forwarded-For; behind two balancers and a health check none of that holds.
"""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from service.api.keys import SETTINGS
from service.api.routing import ENDPOINT
from service.domain.errors import unreadable
from service.domain.origins import Host, Path, host_of, scheme_of, trace

_PATH: web.RequestKey[Path] = web.RequestKey("path")


def _path(request: web.Request) -> Path:
    if _PATH not in request:
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, [])
        request[_PATH] = trace(request.remote, forwarded, request.app[SETTINGS].trusted_proxies)
    return request[_PATH]


def client_ip(request: web.Request) -> str | None:
    """The client's address, behind whatever trusted proxies."""
    return _path(request).client


def host(request: web.Request) -> Host | None:
    """What the client asked for as host; None for what is none."""
    headers = request.headers
    return host_of(_path(request), headers.getall(hdrs.X_FORWARDED_HOST, []), headers.getall(hdrs.HOST, []))


def base_url(request: web.Request) -> str:
    """Base of absolute URLs, without a trailing slash: CLARION_PUBLIC_URL, else where the client asked.

    Refusal(BAD_REQUEST) where that is no host.
    """
    if public := request.app[SETTINGS].public_url:
        return public.rstrip("/")
    asked = host(request)
    if asked is None:
        raise unreadable("The Host header is missing or names no host.")
    scheme = scheme_of(_path(request), request.headers.getall(hdrs.X_FORWARDED_PROTO, []), request.scheme)
    return f"{scheme}://{asked.authority}"


@web.middleware
async def require_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Under /api/: refuse what could not be answered with URLs before anything is done. Probes need no host."""
    if request[ENDPOINT].template.startswith("/api/"):
        base_url(request)
    return await handler(request)
