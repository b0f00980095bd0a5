"""What events tell of the request that caused them (canvas/events.md 1.1)."""

import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from service.api.authentication import CALLER
from service.api.keys import SETTINGS
from service.api.observation import REQUEST_ID
from service.api.routing import METHOD
from service.domain.event_metadata import Cause, global_id, metadata
from service.runtime.event_metadata import caused_by, root_account

_READING = {hdrs.METH_GET, hdrs.METH_HEAD}
_TOKEN = "access_token"  # noqa: S105 - the parameter's name, never told with its value
_PORT = re.compile(r":\d+$")


@web.middleware
async def tell_cause(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Behind authentication: what the request changes is told with who asked for it, from where and how."""
    settings = request.app[SETTINGS]
    if not settings.events or CALLER not in request or request[METHOD] in _READING:
        return await handler(request)
    with caused_by(_cause(request)):
        return await handler(request)


def _cause(request: web.Request) -> Cause:
    settings, caller = request.app[SETTINGS], request[CALLER]
    shard = settings.shard_id
    user = global_id(caller.user_id, shard)
    account = root_account(settings)
    return Cause(
        metadata(
            {
                **account,
                "user_id": user,
                "real_user_id": None if caller.real_user_id is None else global_id(caller.real_user_id, shard),
                "user_login": caller.login,
                "user_sis_id": caller.sis_id,
                # Logins belong to the root account, as they do in Canvas.
                "user_account_id": account["root_account_id"],
                "context_type": "User",
                "context_id": user,
                "user_agent": request.headers.get(hdrs.USER_AGENT),
                "client_ip": request.remote,
                "hostname": _PORT.sub("", request.host),
                "http_method": request[METHOD],
                "url": settings.base_url + _without_token(request.rel_url),
                "referrer": _referrer(request),
                "request_id": request[REQUEST_ID],
            }
        )
    )


def _referrer(request: web.Request) -> str | None:
    """None as well for one that cannot be read: who knows what is in it."""
    try:
        return _without_token(URL(request.headers.get(hdrs.REFERER, "")))
    except ValueError:
        return None


def _without_token(url: URL) -> str:
    return str(url.without_query_params(_TOKEN) if _TOKEN in url.query else url)
