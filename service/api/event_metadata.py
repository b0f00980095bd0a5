"""What events give of the request that caused them (canvas/events.md 1.1)."""

from aiohttp import hdrs, web
from yarl import URL

from service.api.authentication import caller
from service.api.keys import SETTINGS
from service.api.observation import REQUEST_ID
from service.api.origin import base_url, client_ip, host
from service.api.routing import METHOD
from service.domain.event_metadata import Cause, global_id
from service.runtime.event_metadata import cause, root_account

_TOKEN = "access_token"  # noqa: S105 - the parameter's name, never given with its value


def request_cause(request: web.Request) -> Cause | None:
    """Who asked for the change, from where and how. The request is an authenticated one; None when events are off."""
    settings, asking, asked = request.app[SETTINGS], caller(request), host(request)
    user = global_id(asking.user_id, settings.shard_id)
    real_user = None if asking.real_user_id is None else global_id(asking.real_user_id, settings.shard_id)
    return cause(
        settings,
        {
            "user_id": user,
            "real_user_id": real_user,
            "user_login": asking.login,
            "user_sis_id": asking.sis_id,
            # Logins belong to the root account, as they do in Canvas.
            "user_account_id": root_account(settings),
            "context_type": "User",
            "context_id": user,
            "user_agent": request.headers.get(hdrs.USER_AGENT),
            "client_ip": client_ip(request),
            "hostname": asked.name if asked else None,
            "http_method": request[METHOD],
            "url": base_url(request) + _without_token(request.rel_url),
            "referrer": _referrer(request),
            "request_id": request[REQUEST_ID],
        },
    )


def _referrer(request: web.Request) -> str | None:
    """None as well for one that cannot be read: a token in it could not be taken out."""
    try:
        return _without_token(URL(request.headers.get(hdrs.REFERER, "")))
    except ValueError:
        return None


def _without_token(url: URL) -> str:
    return str(url.without_query_params(_TOKEN) if _TOKEN in url.query else url)
