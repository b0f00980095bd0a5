"""Writing the directory: one statement per kind of row.

Every coroutine takes changes of its kind that hold a row at most once, sorted by row, as
service.domain.directory.rounds makes them, and returns how many rows are now other than before.
"""

from collections.abc import Sequence
from typing import Any

from service.domain.directory import Change
from service.domain.directory_shapes import SHAPES, Kind
from sql.arrays import array_text
from sql.connection import Connection
from sql.statements import Command

_TAKE_ROSTER_TURN = Command("take_roster_turn")
_ACCOUNTS = Command("upsert_accounts")
_USERS = Command("upsert_users")
_USER_ACCOUNTS = Command("upsert_user_accounts")
_ACCOUNT_USERS = Command("upsert_account_users")
_ROLE_OVERRIDES = Command("upsert_role_overrides")
_COURSES = Command("upsert_courses")
_SECTIONS = Command("upsert_sections")
_ENROLLMENTS = Command("upsert_enrollments")
_GROUP_CATEGORIES = Command("upsert_group_categories")
_GROUPS = Command("upsert_groups")
_GROUP_MEMBERSHIPS = Command("upsert_group_memberships")
_ATTACHMENTS = Command("upsert_attachments")
# Of enrolments, of which there are most by far.
_NUMBERS = ("ids", "present_keys", "course_ids", "course_section_ids", "user_ids", "associated_user_ids")


def _plural(key: str) -> str:
    """The parameter that holds a key's values, one a row."""
    return key if key.endswith("s") else f"{key}s"


def _arrays(kind: Kind, changes: Sequence[Change]) -> dict[str, list[Any]]:
    """The parameters of a statement: parallel lists."""
    marks: dict[str, list[Any]] = {
        "ids": [change.row[0] for change in changes],
        "times": [change.as_of for change in changes],
        "present_keys": [change.present_keys for change in changes],
    }
    return marks | {_plural(key): [change.values[n] for change in changes] for n, key in enumerate(SHAPES[kind].keys)}


async def _upsert(conn: Connection, command: Command, kind: Kind, changes: Sequence[Change]) -> int:
    return await command(conn, **_arrays(kind, changes))


async def take_roster_turn(conn: Connection) -> None:
    """Wait for those who write users, enrolments or memberships; others wait until the transaction ends.

    The one coroutine here without changes and without a count. It comes first in a transaction.
    """
    await _TAKE_ROSTER_TURN(conn)


async def upsert_user_accounts(conn: Connection, changes: Sequence[Change]) -> int:
    """Members of accounts; a row is (account id, user id)."""
    return await _USER_ACCOUNTS(
        conn,
        account_ids=[change.row[0] for change in changes],
        user_ids=[change.row[1] for change in changes],
        times=[change.as_of for change in changes],
    )


async def upsert_enrollments(conn: Connection, changes: Sequence[Change], states: Sequence[Change]) -> int:
    """Enrolments and their date-aware states; a row may be in both lists, and either may be empty."""
    arrays: dict[str, Any] = _arrays(Kind.ENROLLMENT, changes)
    return await _ENROLLMENTS(
        conn,
        state_ids=[change.row[0] for change in states],
        state_times=[change.as_of for change in states],
        states=[change.values[0] for change in states],
        **(arrays | {name: array_text(arrays[name]) for name in _NUMBERS}),
    )


async def upsert_accounts(conn: Connection, changes: Sequence[Change]) -> int:
    """Accounts."""
    return await _upsert(conn, _ACCOUNTS, Kind.ACCOUNT, changes)


async def upsert_users(conn: Connection, changes: Sequence[Change]) -> int:
    """Users."""
    return await _upsert(conn, _USERS, Kind.USER, changes)


async def upsert_account_users(conn: Connection, changes: Sequence[Change]) -> int:
    """Administrators of accounts."""
    return await _upsert(conn, _ACCOUNT_USERS, Kind.ACCOUNT_USER, changes)


async def upsert_role_overrides(conn: Connection, changes: Sequence[Change]) -> int:
    """Role overrides."""
    return await _upsert(conn, _ROLE_OVERRIDES, Kind.ROLE_OVERRIDE, changes)


async def upsert_courses(conn: Connection, changes: Sequence[Change]) -> int:
    """Courses."""
    return await _upsert(conn, _COURSES, Kind.COURSE, changes)


async def upsert_sections(conn: Connection, changes: Sequence[Change]) -> int:
    """Sections."""
    return await _upsert(conn, _SECTIONS, Kind.SECTION, changes)


async def upsert_group_categories(conn: Connection, changes: Sequence[Change]) -> int:
    """Group categories."""
    return await _upsert(conn, _GROUP_CATEGORIES, Kind.GROUP_CATEGORY, changes)


async def upsert_groups(conn: Connection, changes: Sequence[Change]) -> int:
    """Groups and differentiation tags."""
    return await _upsert(conn, _GROUPS, Kind.GROUP, changes)


async def upsert_group_memberships(conn: Connection, changes: Sequence[Change]) -> int:
    """Group memberships."""
    return await _upsert(conn, _GROUP_MEMBERSHIPS, Kind.GROUP_MEMBERSHIP, changes)


async def upsert_attachments(conn: Connection, changes: Sequence[Change]) -> int:
    """Files."""
    return await _upsert(conn, _ATTACHMENTS, Kind.ATTACHMENT, changes)
