"""Whom a sender reaches: users found by ranges of enrolments, groups, accounts and conversations."""

import json
from collections.abc import Iterable, Sequence

from service.domain.visibility import Members, Range, rows
from sql.connection import Connection
from sql.statements import text_of

_EXPAND_RANGES = text_of("expand_ranges")
_BY_ENROLLMENT = text_of("reachable_by_enrollment")
_GROUP_MEMBERS = text_of("group_members")
_BY_ROSTER = text_of("reachable_by_roster")
_FELLOWS = text_of("fellow_participants")
_EXISTING = text_of("existing_users")
_BY_UUID = text_of("recipients_by_uuid")
_ALL_INSTRUCT = text_of("all_instruct")
_ANY_STAFF = text_of("any_staff")
_OPEN_SECTIONS = text_of("open_sections")
_INSTRUCTED = text_of("instructed_by")


async def _ids(conn: Connection, statement: str, *args: object) -> list[int]:
    found: list[int] = await conn.fetchval(statement, *args)
    return found


def _records(items: Iterable[Range | Members]) -> str:
    return json.dumps(rows(items))


async def expand_ranges(conn: Connection, ranges: Sequence[Range], sender_id: int) -> list[int]:
    """Messageable users of the ranges without the sender; ascending, distinct."""
    return await _ids(conn, _EXPAND_RANGES, _records(ranges), sender_id)


async def reachable_by_enrollment(
    conn: Connection, ranges: Sequence[Range], sender_id: int, user_ids: Sequence[int]
) -> list[int]:
    """Those of ``user_ids`` who have an enrolment in the ranges."""
    return await _ids(conn, _BY_ENROLLMENT, _records(ranges), sender_id, user_ids)


async def group_members(
    conn: Connection, groups: Sequence[Members], sender_id: int, user_ids: Sequence[int] | None = None
) -> list[int]:
    """Messageable members of the groups without the sender; only those of ``user_ids`` when given."""
    return await _ids(conn, _GROUP_MEMBERS, _records(groups), sender_id, user_ids)


async def reachable_by_roster(conn: Connection, user_ids: Sequence[int], account_ids: Sequence[int]) -> list[int]:
    """Those of ``user_ids`` who belong to one of the accounts."""
    return await _ids(conn, _BY_ROSTER, user_ids, account_ids)


async def fellow_participants(
    conn: Connection, conversation_id: int, sender_id: int, user_ids: Sequence[int]
) -> list[int]:
    """Those of ``user_ids`` who take part in a conversation with the sender."""
    return await _ids(conn, _FELLOWS, conversation_id, sender_id, user_ids)


async def existing_users(conn: Connection, user_ids: Sequence[int]) -> list[int]:
    """Those of ``user_ids`` who exist and are not deleted."""
    return await _ids(conn, _EXISTING, user_ids)


async def recipients_by_uuid(conn: Connection, uuids: Sequence[str]) -> list[int]:
    """Ids of the users who have these uuids."""
    return await _ids(conn, _BY_UUID, uuids)


async def all_instruct(conn: Connection, course_id: int, user_ids: Sequence[int], exempt: Sequence[int]) -> bool:
    """Whether all users are teachers or TAs of the course, the exempt ones not asked."""
    return bool(await conn.fetchval(_ALL_INSTRUCT, course_id, user_ids, exempt))


async def any_staff(conn: Connection, course_id: int, user_ids: Sequence[int]) -> bool:
    """Whether one of the users is an active teacher, TA or designer of the course."""
    return bool(await conn.fetchval(_ANY_STAFF, course_id, user_ids))


async def any_open_section(
    conn: Connection, course_id: int, section_ids: Sequence[int] | None, course_ended: bool
) -> bool:
    """Whether one of the sections is not over; None asks for all of the course."""
    return bool(await conn.fetchval(_OPEN_SECTIONS, course_id, section_ids, course_ended))


async def instructed_by(conn: Connection, author_id: int, user_ids: Sequence[int]) -> list[int]:
    """Those of ``user_ids`` who are students where the author is an active teacher or TA; ascending."""
    return await _ids(conn, _INSTRUCTED, author_id, user_ids)
