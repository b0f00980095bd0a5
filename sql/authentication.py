"""The caller of a request: an access token and its user, or the user of a JWT."""

from datetime import datetime
from typing import NamedTuple

from service.domain.jwt import Bearer
from sql.connection import Connection
from sql.statements import One


class CallerRow(NamedTuple):
    """A token and its user. workflow_state is None for a user the directory does not know.

    drains_in: seconds in which the token's bucket empties, the reservation included; None without one. awaited: [batch
    id, position] of each pending chunk with the user among its recipients, the oldest first. log_position: [timeline,
    bytes] of the log that a replica needs to have for this caller; None where there is none.
    """

    user_id: int
    scopes: list[str] | None
    expires_at: datetime | None
    expired: bool
    revoked_at: datetime | None
    workflow_state: str | None
    fake_student: bool
    login: str | None
    sis_id: str | None
    drains_in: float | None
    awaited: list[list[int]]
    log_position: list[int] | None


_FIND_CALLER = One("find_caller", CallerRow)
_FIND_BEARER = One("find_bearer", CallerRow)


async def find_caller(
    conn: Connection,
    token_hash: bytes,
    *,
    reserving: float | None = None,
    longest: float = 0.0,
    replicated: bool = False,
) -> CallerRow | None:
    """The token with this SHA-256, whatever its state.

    ``reserving``: seconds by which its bucket drains longer from now on, up to ``longest``; None leaves it alone.
    ``replicated``: whether a replica may be read for the caller.
    """
    return await _FIND_CALLER(conn, token_hash=token_hash, reserving=reserving, longest=longest, replicated=replicated)


async def find_bearer(
    conn: Connection,
    bearer: Bearer,
    *,
    reserving: float | None = None,
    longest: float = 0.0,
    replicated: bool = False,
) -> CallerRow | None:
    """The one living user whom a verified JWT names, while it is valid by the database's clock; else None.

    ``reserving``, ``longest`` and ``replicated`` as for ``find_caller``.
    """
    return await _FIND_BEARER(
        conn,
        **bearer.user._asdict(),
        valid_from=bearer.valid_from,
        valid_until=bearer.valid_until,
        scopes=bearer.scopes,
        client=bearer.client,
        reserving=reserving,
        longest=longest,
        replicated=replicated,
    )
