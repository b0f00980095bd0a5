"""Who is asking (canvas/conventions.md 2 and 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.api.credentials import Credential, read_credential
from service.api.database import connection
from service.api.keys import REPLICA, SETTINGS
from service.api.parameters import PARAMETERS, read_parameters
from service.api.places import CLIENT
from service.api.routing import ENDPOINT, choose_method, in_api, scopes_of
from service.api.throttle import OverTheMark, Reservation, admit, rules_of, turn_away
from service.application.address_book.masquerade import act_as
from service.application.address_book.rights import UserRights
from service.domain.errors import Code, Refusal
from sql.authentication import CallerRow
from sql.connection import Connection
from sql.replicas import LogPosition, flushed_position

_CLOSED_TO_FAKE_STUDENTS = "/api/v1/conversations"


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom a request is done."""

    user_id: int
    actor: UserRights | None = None  # of who really asks, when acting as another user
    scopes: tuple[str, ...] | None = None  # of the token; None: every route
    login: str | None = None
    sis_id: str | None = None
    awaited: tuple[tuple[int, int], ...] = ()  # chunks that a read has delivered first: batch id and position
    log_position: LogPosition | None = None  # what a replica needs to show; None: reads keep to the primary

    @property
    def real_user_id(self) -> int | None:
        """Who really asks, when acting as another user."""
        return None if self.actor is None else self.actor.roles.user_id


CALLER: web.RequestKey[Caller] = web.RequestKey("caller")


def caller(request: web.Request) -> Caller:
    """The caller of an authenticated request (everything under /api/)."""
    return request[CALLER]


def _check(found: CallerRow | None) -> CallerRow:
    if found is None or found.workflow_state == "deleted":
        raise Refusal(Code.BAD_TOKEN)
    if found.revoked_at is not None:
        raise Refusal(Code.BAD_TOKEN, "Revoked access token.")
    if found.expires_at is not None and found.expired:
        raise Refusal(Code.BAD_TOKEN, "Expired access token.", details={"expired_at": found.expires_at})
    return found


async def _find(request: web.Request, conn: Connection, credential: Credential) -> CallerRow | None:
    """Whose it is. OverTheMark comes before anything that may be wrong with a token."""
    rules, replicated = rules_of(request.app[SETTINGS]), request.app[REPLICA] is not None
    if rules is None:
        return await credential.find(conn, replicated=replicated)
    found = await credential.find(conn, reserving=rules.reserving, longest=rules.longest, replicated=replicated)
    if found is not None and found.drains_in is not None:
        admit(request, Reservation(rules, credential.client, found.drains_in))
    return found


async def _identify(request: web.Request, credential: Credential) -> CallerRow:
    async with connection(request) as conn:
        return _check(await _find(request, conn, credential))


async def _authorise(request: web.Request, found: CallerRow) -> Caller:
    """For whom the request is done, once its parameters are read; refuses what its token or its user may not do."""
    scopes = None if found.scopes is None else tuple(found.scopes)
    if scopes is not None and scopes_of(request).isdisjoint(scopes):
        raise Refusal(Code.INSUFFICIENT_SCOPE)
    awaited = _chunks(found.awaited)
    position = None if found.log_position is None else LogPosition(*found.log_position)
    known = Caller(found.user_id, None, scopes, found.login, found.sis_id, awaited, None if awaited else position)
    fake_student = found.fake_student
    as_user = request[PARAMETERS].get("as_user_id")
    if as_user is not None:
        settings = request.app[SETTINGS]
        async with connection(request) as conn:
            masquerade = await act_as(
                conn,
                user_id=found.user_id,
                as_user_id=as_user,
                root_account_id=settings.root_account_id,
                shard_id=settings.shard_id,
            )
            if masquerade is not None and position is not None:  # the target's chunks were looked for after the caller
                position = await flushed_position(conn)
        if masquerade is not None:
            target = masquerade.target
            awaited = _chunks(target.awaited)
            position = None if awaited else position
            known = Caller(target.user_id, masquerade.actor, scopes, target.login, target.sis_id, awaited, position)
            fake_student = target.fake_student
    if fake_student and request[ENDPOINT].template.startswith(_CLOSED_TO_FAKE_STUDENTS):
        raise Refusal(Code.NOT_AUTHORISED)
    return known


async def authorise_again(request: web.Request) -> None:
    """For an answer that lasts: who asks is looked up anew; Refusal where a new request would be refused."""
    credential = await read_credential(request)
    async with connection(request) as conn:
        found = _check(await credential.find(conn))
    request[CALLER] = await _authorise(request, found)


def _chunks(awaited: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((batch_id, position) for batch_id, position in awaited)


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Under /api/: find the caller, or refuse or throttle; then read the rest, which only a known caller may make long.

    No connection is held while the body comes.
    """
    if not in_api(request):
        return await handler(request)
    credential = await read_credential(request)
    request[CLIENT] = credential.client
    try:
        found = await _identify(request, credential)
    except OverTheMark:
        return turn_away(request)
    await read_parameters(request)
    choose_method(request)
    request[CALLER] = known = await _authorise(request, found)
    structlog.contextvars.bind_contextvars(user_id=known.user_id)
    if known.real_user_id is not None:
        structlog.contextvars.bind_contextvars(real_user_id=known.real_user_id)
    return await handler(request)
