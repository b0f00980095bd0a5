"""What a request says who asks with: an access token, or a JWT of the institution's issuer (canvas/conventions.md 2,
CONTRACT 3.5).
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import hdrs, web

from service.api.keys import SETTINGS
from service.api.parameters import MAX_UNKNOWN, query_parameters, read_parameters, takes_body
from service.domain.errors import Code, Refusal
from service.domain.jwt import Bearer, Expected, Unacceptable
from service.domain.tokens import hash_token
from service.runtime.jwt.keys import Keys
from service.runtime.jwt.source import SourceError, source_of
from service.runtime.jwt.verifier import Verifier, is_jwt
from service.runtime.settings import Settings, SettingsError
from sql.authentication import CallerRow, find_bearer, find_caller
from sql.connection import Connection

VERIFIER: web.AppKey[Verifier] = web.AppKey("verifier")  # where the institution signs its people in
_REASON = 200  # characters; what was sent may be quoted in it


@dataclass(frozen=True, slots=True)
class Credential:
    """An access token by its hash, or who comes with a verified JWT.

    ``client``: what all requests of the client have in common, for what one client may take: the token's hash, and of a
    JWT its user's, for it is a new one every few minutes.
    """

    client: bytes
    bearer: Bearer | None = None

    async def find(
        self, conn: Connection, *, reserving: float | None = None, longest: float = 0.0, replicated: bool = False
    ) -> CallerRow | None:
        """Whose it is, by one statement, which also reserves; None where it opens nothing."""
        if self.bearer is None:
            return await find_caller(conn, self.client, reserving=reserving, longest=longest, replicated=replicated)
        return await find_bearer(conn, self.bearer, reserving=reserving, longest=longest, replicated=replicated)


async def read_credential(request: web.Request) -> Credential:
    """Refusal(UNAUTHENTICATED) without any, Refusal(BAD_TOKEN) for what can be none.

    A JWT whose key has to be fetched first is waited for, for seconds (service/runtime/jwt/keys.py).
    """
    token = await _token_of(request)
    verifier = request.app.get(VERIFIER)
    if verifier is None or not is_jwt(token):
        return Credential(hash_token(token))
    try:
        bearer = await verifier.verify(token)
    except Unacceptable as reason:
        structlog.contextvars.bind_contextvars(jwt_refused=str(reason)[:_REASON])
        raise Refusal(Code.BAD_TOKEN) from None
    return Credential(bearer.client, bearer)


async def _token_of(request: web.Request) -> str:
    token = _header_token(request) or query_parameters(request).get("access_token") or await _body_token(request)
    if not token:
        raise Refusal(Code.UNAUTHENTICATED)
    if not isinstance(token, str) or not token.isascii():
        raise Refusal(Code.BAD_TOKEN)
    return token


def _header_token(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


async def _body_token(request: web.Request) -> Any:
    """The access_token of a small body; None where it cannot be read: its sender is not known."""
    if not takes_body(request):
        return None
    try:
        return (await read_parameters(request, limit=MAX_UNKNOWN)).get("access_token")
    except Refusal:
        return None


def set_up(app: web.Application) -> None:
    """Keys are fetched while the application runs; a file of keys has to be there when it starts."""
    settings = app[SETTINGS]
    if not settings.jwt_issuer:
        return
    keys = Keys(source_of(settings.jwt_jwks))
    app[VERIFIER] = Verifier(keys, _expected(settings))

    async def fetch_keys(app: web.Application) -> AsyncIterator[None]:
        if "://" not in settings.jwt_jwks:
            try:
                await keys.look()
            except SourceError as error:
                raise SettingsError(f"CLARION_JWT_JWKS: {settings.jwt_jwks}: {error}") from None
        keys.start()
        yield
        await keys.close()

    app.cleanup_ctx.append(fetch_keys)


def _expected(settings: Settings) -> Expected:
    return Expected(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        user_claim=settings.jwt_user_claim,
        user_key=settings.jwt_user_key,
        shard_id=settings.shard_id,
    )
