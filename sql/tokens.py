"""Access tokens."""

from collections.abc import Sequence
from datetime import datetime

from sql.connection import Connection
from sql.statements import text_of

_CREATE = text_of("create_tokens")
_REVOKE = text_of("revoke_token")


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
    await conn.execute(_CREATE, hashes, user_ids, name, scopes, expires_at)


async def revoke_token(conn: Connection, token_hash: bytes) -> bool:
    """Whether there was such a token; it is revoked now."""
    return await conn.fetchval(_REVOKE, token_hash) is not None
