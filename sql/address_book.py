"""Whom a sender reaches: users found by ranges of enrolments, groups, accounts and conversations."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.domain.visibility import Members, Range, rows
from sql.arrays import Ids, array_text
from sql.connection import Connection
from sql.statements import Single, Value


class Expanded(NamedTuple):
    """User ids as the text of an array, empty where the server holds them, and how many."""

    user_ids: str
    people: int


_EXPAND_RANGES = Single("expand_ranges", Expanded)
_REACHABLE = Value[list[int]]("reachable")
_GROUP_MEMBERS = Value[list[int]]("group_members")
_BY_ROSTER = Value[list[int]]("reachable_by_roster")
_FELLOWS = Value[list[int]]("fellow_participants")
_EXISTING = Value[list[int]]("existing_users")
_BY_UUID = Value[list[int]]("recipients_by_uuid")
_ALL_INSTRUCT = Value[bool]("all_instruct")
_ANY_STAFF = Value[bool]("any_staff")
_ANY_OPEN_SECTION = Value[bool]("any_open_section")
_INSTRUCTED = Value[list[int]]("instructed_by")


def _records(items: Iterable[Range | Members]) -> str:
    return json.dumps(rows(items))


async def expand_ranges(
    conn: Connection, ranges: Sequence[Range], sender_id: int, *, hold_above: int | None = None
) -> Ids:
    """Messageable users of the ranges without the sender; ascending, distinct.

    ``hold_above``: of more than so many the server holds the ids until the transaction ends.
    """
    found = await _EXPAND_RANGES(conn, ranges=_records(ranges), sender_id=sender_id, hold_above=hold_above)
    return Ids(found.user_ids or None, found.people)


async def reachable(
    conn: Connection,
    user_ids: Sequence[int],
    sender_id: int,
    *,
    ranges: Sequence[Range] = (),
    groups: Sequence[Members] = (),
    account_ids: Sequence[int] = (),
) -> list[int]:
    """Those of ``user_ids``, messageable, who are in the ranges or the groups or belong to the accounts; ascending."""
    return await _REACHABLE(
        conn,
        user_ids=user_ids,
        sender_id=sender_id,
        ranges=_records(ranges),
        groups=_records(groups),
        account_ids=account_ids,
    )


async def group_members(conn: Connection, groups: Sequence[Members], sender_id: int) -> list[int]:
    """Messageable members of the groups without the sender."""
    return await _GROUP_MEMBERS(conn, groups=_records(groups), sender_id=sender_id)


async def reachable_by_roster(conn: Connection, user_ids: Sequence[int], account_ids: Sequence[int]) -> list[int]:
    """Those of ``user_ids`` who belong to one of the accounts."""
    return await _BY_ROSTER(conn, user_ids=user_ids, account_ids=account_ids)


async def fellow_participants(
    conn: Connection, conversation_id: int, sender_id: int, user_ids: Sequence[int]
) -> list[int]:
    """Those of ``user_ids`` who take part in a conversation with the sender."""
    return await _FELLOWS(conn, conversation_id=conversation_id, sender_id=sender_id, user_ids=user_ids)


async def existing_users(conn: Connection, user_ids: Sequence[int]) -> list[int]:
    """Those of ``user_ids`` who exist and are not deleted."""
    return await _EXISTING(conn, user_ids=user_ids)


async def recipients_by_uuid(conn: Connection, uuids: Sequence[str]) -> list[int]:
    """Ids of the users who have these uuids."""
    return await _BY_UUID(conn, uuids=uuids)


async def all_instruct(conn: Connection, course_id: int, user_ids: Sequence[int], exempt: Sequence[int]) -> bool:
    """Whether all users are teachers or TAs of the course, the exempt ones not counted."""
    return await _ALL_INSTRUCT(conn, course_id=course_id, user_ids=array_text(user_ids), exempt=exempt)


async def any_staff(conn: Connection, course_id: int, user_ids: Sequence[int]) -> bool:
    """Whether one of the users is an active teacher, TA or designer of the course."""
    return await _ANY_STAFF(conn, course_id=course_id, user_ids=user_ids)


async def any_open_section(
    conn: Connection, course_id: int, section_ids: Sequence[int] | None, course_ended: bool
) -> bool:
    """Whether one of the sections is not over; None asks for all of the course."""
    return await _ANY_OPEN_SECTION(conn, course_id=course_id, section_ids=section_ids, course_ended=course_ended)


async def instructed_by(conn: Connection, author_id: int, user_ids: Sequence[int]) -> list[int]:
    """Those of ``user_ids`` who are students where the author is an active teacher or TA; ascending."""
    return await _INSTRUCTED(conn, author_id=author_id, user_ids=user_ids)
