"""Whom a caller may want to act as (canvas/conventions.md 3)."""

from typing import NamedTuple

from sql.connection import Connection
from sql.statements import One, Value


class TargetRow(NamedTuple):
    """A living user of the directory.

    ``account_ids``: of the accounts to which the user belongs, by association, an enrolment in a course there, or an
    administrator's role; ``administered_account_ids``: of those with such a role; ascending. ``awaited``: [batch id,
    position] of each pending chunk with the user among its recipients, the oldest first.
    """

    user_id: int
    fake_student: bool
    login: str | None
    sis_id: str | None
    account_ids: list[int]
    administered_account_ids: list[int]
    awaited: list[list[int]]


_FIND_TARGET = One("find_masquerade_target", TargetRow)
_FIND_MERGED = Value[int | None]("find_merged_target")


async def find_masquerade_target(
    conn: Connection,
    *,
    user_id: int | None = None,
    uuid: str | None = None,
    sis_id: str | None = None,
    login: str | None = None,
) -> TargetRow | None:
    """The user with this id, uuid, SIS id or login; None for a deleted one."""
    return await _FIND_TARGET(conn, user_id=user_id, uuid=uuid, sis_id=sis_id, login=login)


async def find_merged_target(
    conn: Connection,
    *,
    user_id: int | None = None,
    uuid: str | None = None,
    sis_id: str | None = None,
    login: str | None = None,
) -> int | None:
    """The living user into whom the user with this id, uuid, SIS id or login was merged; None for any other."""
    return await _FIND_MERGED(conn, user_id=user_id, uuid=uuid, sis_id=sis_id, login=login)
