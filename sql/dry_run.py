"""What a dry run asks of the database: threads that there are, and who or what some names stand for."""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

from service.domain.visibility import Members, Range, rows
from sql.arrays import array_text
from sql.connection import Connection
from sql.statements import Column, Many, Value


class UserRow(NamedTuple):
    """A user that a request names."""

    id: int
    uuid: str | None
    deleted: bool


class ContextRow(NamedTuple):
    """A course, section or group that a request names."""

    type: str
    id: int
    deleted: bool


_THREADS = Value[int]("count_threads")
_USERS = Many("named_users", UserRow)
_CONTEXTS = Many("named_contexts", ContextRow)
_INHABITED = Column[int]("inhabited")
_INHABITED_GROUPS = Column[int]("inhabited_groups")


async def count_threads(conn: Connection, author_id: int, recipients: Sequence[int], *, context_key: int) -> int:
    """With how many of the recipients the author has a private conversation in that context."""
    return await _THREADS(conn, author_id=author_id, recipients=array_text(recipients), context_key=context_key)


async def named_users(conn: Connection, user_ids: Collection[int], uuids: Collection[str]) -> list[UserRow]:
    """Those that the directory knows."""
    return await _USERS(conn, user_ids=array_text(sorted(user_ids)), uuids=sorted(uuids))


async def named_contexts(
    conn: Connection, *, course_ids: Sequence[int], section_ids: Sequence[int], group_ids: Sequence[int]
) -> list[ContextRow]:
    """Those that the directory knows."""
    return await _CONTEXTS(conn, course_ids=course_ids, section_ids=section_ids, group_ids=group_ids)


async def inhabited(conn: Connection, ranges: Sequence[Range], sender_id: int) -> set[int]:
    """Positions of the ranges, from 0, in which there is anybody but the sender to write to."""
    return {n - 1 for n in await _INHABITED(conn, ranges=json.dumps(rows(ranges)), sender_id=sender_id)}


async def inhabited_groups(conn: Connection, groups: Sequence[Members], sender_id: int) -> set[int]:
    """The same of groups."""
    found = await _INHABITED_GROUPS(conn, groups=json.dumps(rows(groups)), sender_id=sender_id)
    return {n - 1 for n in found}
