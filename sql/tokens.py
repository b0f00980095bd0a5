"""Access tokens."""

from collections.abc import Sequence
from datetime import datetime

from sql.connection import Connection
from sql.statements import Command

_CREATE = Command("create_tokens")
_REVOKE = Command("revoke_token")


async def create_tokens(
    conn: Connection,
    hashes: Sequence[bytes],
    user_ids: Sequence[int],
    *,
    name: str | None,
    scopes: Sequence[str] | None,
    expires_at: datetime | None,
) -> None:
    """One token per hash and user, the lists side by side. scopes None: every route."""
    await _CREATE(conn, hashes=hashes, user_ids=user_ids, name=name, scopes=scopes, expires_at=expires_at)


async def revoke_token(conn: Connection, token_hash: bytes) -> bool:
    """Whether there was such a token; it is revoked now."""
    return await _REVOKE(conn, hash=token_hash) > 0
