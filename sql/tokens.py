"""Access tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Command, Many


class TokenRow(NamedTuple):
    """What may be known of a token. user_name is None for a user the directory does not know."""

    id: int
    user_id: int
    user_name: str | None
    name: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None  # to the minute
    revoked_at: datetime | None


_CREATE = Command("create_tokens")
_REVOKE = Command("revoke_token")
_LIST = Many("list_tokens", TokenRow)


async def create_tokens(
    conn: Connection,
    hashes: Sequence[bytes],
    user_ids: Sequence[int],
    *,
    name: str | None,
    scopes: Sequence[str] | None,
    expires_at: datetime | None,
) -> bool:
    """One token per hash and user, the lists side by side. scopes None: every route.

    False, and no token, when ``expires_at`` is past by the database's clock.
    """
    made = await _CREATE(conn, hashes=hashes, user_ids=user_ids, name=name, scopes=scopes, expires_at=expires_at)
    return made > 0


async def revoke_token(conn: Connection, token_hash: bytes, token_id: int | None) -> bool:
    """Whether there was a token with this hash or this id; it is revoked now."""
    return await _REVOKE(conn, hash=token_hash, id=token_id) > 0


async def list_tokens(conn: Connection) -> list[TokenRow]:
    """All tokens, the oldest first."""
    return await _LIST(conn)
