"""Whom a caller may want to act as (canvas/conventions.md 3)."""

from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Column, One


class TargetRow(NamedTuple):
    """A living user of the directory."""

    user_id: int
    fake_student: bool
    login: str | None
    sis_id: str | None


_FIND_TARGET = One("find_masquerade_target", TargetRow)
_ADMINISTERED = Column[int]("administered_accounts")


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


async def administered_accounts(conn: Connection, user_id: int) -> list[int]:
    """Ids of the accounts in which the user has an administrator's role, ascending."""
    return await _ADMINISTERED(conn, user_id=user_id)
