"""Who calls, and whom a caller may want to act as."""

from datetime import datetime
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import text_of

_FIND_CALLER = text_of("find_caller")
_CHANGE_BUCKET = text_of("change_bucket")
_FIND_TARGET = text_of("find_masquerade_target")
_ADMINISTERED = text_of("administered_accounts")


class CallerRow(NamedTuple):
    """A token and its user. workflow_state is None for a user the directory does not know.

    drains_in: seconds in which the token's bucket empties, the reservation included; None without one.
    """

    user_id: int
    scopes: list[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    workflow_state: str | None
    fake_student: bool
    login: str | None
    sis_id: str | None
    drains_in: float | None


class TargetRow(NamedTuple):
    """A living user of the directory."""

    user_id: int
    fake_student: bool
    login: str | None
    sis_id: str | None


async def find_caller(
    conn: Connection, token_hash: bytes, *, reserving: float | None = None, longest: float = 0.0
) -> CallerRow | None:
    """The token with this SHA-256, whatever its state.

    ``reserving``: seconds by which its bucket drains longer from now on, up to ``longest``; None leaves it alone.
    """
    row = await conn.fetchrow(_FIND_CALLER, token_hash, reserving, longest)
    return CallerRow(*row) if row else None


async def change_bucket(conn: Connection, token_hash: bytes, seconds: float, longest: float) -> float | None:
    """Lets a bucket drain by ``seconds`` more or less; seconds that it now takes. None when there is none any more."""
    drains_in: float | None = await conn.fetchval(_CHANGE_BUCKET, token_hash, seconds, longest)
    return drains_in


async def find_masquerade_target(
    conn: Connection,
    *,
    user_id: int | None = None,
    uuid: str | None = None,
    sis_id: str | None = None,
    login: str | None = None,
) -> TargetRow | None:
    """The user with this id, uuid, SIS id or login; deleted ones are nobody."""
    row = await conn.fetchrow(_FIND_TARGET, user_id, uuid, sis_id, login)
    return TargetRow(*row) if row else None


async def administered_accounts(conn: Connection, user_id: int) -> list[int]:
    """Ids of the accounts in which the user has an administrator's role."""
    return [row["account_id"] for row in await conn.fetch(_ADMINISTERED, user_id)]
