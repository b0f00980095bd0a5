"""Who is asking (canvas/conventions.md 2 and 3)."""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from service.api.database import connection
from service.api.keys import SETTINGS
from service.api.parameters import PARAMETERS, read_parameters
from service.api.routing import ENDPOINT, scopes_of
from service.api.throttle import OverTheMark, Reservation, admit, rules_of, turn_away
from service.application.address_book.masquerade import act_as
from service.domain.errors import Code, Refusal
from service.domain.tokens import hash_token
from sql.authentication import CallerRow, find_caller
from sql.connection import Connection

_PREFIX = "/api/"
_CLOSED_TO_FAKE_STUDENTS = "/api/v1/conversations"


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom a request is done."""

    user_id: int
    real_user_id: int | None = None  # who really asks, when acting as another user
    scopes: tuple[str, ...] | None = None  # of the token; None: every route
    login: str | None = None
    sis_id: str | None = None


CALLER: web.RequestKey[Caller] = web.RequestKey("caller")


def caller(request: web.Request) -> Caller:
    """The caller of an authenticated request (everything under /api/)."""
    return request[CALLER]


def _header_token(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


async def _token_of(request: web.Request) -> str:
    token = _header_token(request)
    if token is None:
        token = (await read_parameters(request)).get("access_token")
    if token is None or token == "":
        raise Refusal(Code.UNAUTHENTICATED)
    if not isinstance(token, str) or not token.isascii():
        raise Refusal(Code.BAD_TOKEN)
    return token


def _check(found: CallerRow | None) -> CallerRow:
    if found is None or found.workflow_state == "deleted":
        raise Refusal(Code.BAD_TOKEN)
    if found.revoked_at is not None:
        raise Refusal(Code.BAD_TOKEN, "Revoked access token.")
    if found.expires_at is not None and found.expires_at <= datetime.now(UTC):
        raise Refusal(Code.BAD_TOKEN, "Expired access token.", details={"expired_at": found.expires_at})
    return found


async def _find(request: web.Request, conn: Connection, token_hash: bytes) -> CallerRow | None:
    """The token's row. OverTheMark comes before anything that may be wrong with the token."""
    rules = rules_of(request.app[SETTINGS])
    if rules is None:
        return await find_caller(conn, token_hash)
    found = await find_caller(conn, token_hash, reserving=rules.reserving, longest=rules.longest)
    if found is not None and found.drains_in is not None:
        admit(request, Reservation(rules, token_hash, found.drains_in))
    return found


async def _identify(request: web.Request, conn: Connection, token: str) -> Caller:
    found = _check(await _find(request, conn, hash_token(token)))
    scopes = None if found.scopes is None else tuple(found.scopes)
    if scopes is not None and scopes_of(request).isdisjoint(scopes):
        raise Refusal(Code.INSUFFICIENT_SCOPE)
    known = Caller(found.user_id, scopes=scopes, login=found.login, sis_id=found.sis_id)
    fake_student = found.fake_student
    as_user = request[PARAMETERS].get("as_user_id")
    if as_user is not None:
        settings = request.app[SETTINGS]
        target = await act_as(
            conn,
            user_id=found.user_id,
            as_user_id=as_user,
            root_account_id=settings.root_account_id,
            shard_id=settings.shard_id,
        )
        if target is not None:
            known = Caller(target.user_id, found.user_id, scopes, target.login, target.sis_id)
            fake_student = target.fake_student
    if fake_student and request[ENDPOINT].template.startswith(_CLOSED_TO_FAKE_STUDENTS):
        raise Refusal(Code.NOT_AUTHORISED)
    return known


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Under /api/: find the caller, or refuse or throttle. The body is read before a connection is taken."""
    if not request[ENDPOINT].template.startswith(_PREFIX):
        return await handler(request)
    token = await _token_of(request)
    await read_parameters(request)
    try:
        async with connection(request) as conn:
            request[CALLER] = found = await _identify(request, conn, token)
    except OverTheMark:
        return turn_away(request)
    structlog.contextvars.bind_contextvars(user_id=found.user_id)
    if found.real_user_id is not None:
        structlog.contextvars.bind_contextvars(real_user_id=found.real_user_id)
    return await handler(request)
