"""Writing the directory: one statement per kind of row.

Every coroutine takes changes of its kind that hold a row at most once, sorted by row, as
service.domain.directory.rounds makes them, and returns how many rows are now other than before.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from service.domain.directory import Change
from service.domain.directory_shapes import SHAPES, Kind
from sql.connection import Connection
from sql.statements import text_of

_TAKE_ROSTER_TURN = text_of("take_roster_turn")
_ACCOUNTS = text_of("upsert_accounts")
_USERS = text_of("upsert_users")
_USER_ACCOUNTS = text_of("upsert_user_accounts")
_ACCOUNT_USERS = text_of("upsert_account_users")
_ROLE_OVERRIDES = text_of("upsert_role_overrides")
_COURSES = text_of("upsert_courses")
_SECTIONS = text_of("upsert_sections")
_ENROLLMENTS = text_of("upsert_enrollments")
_GROUP_CATEGORIES = text_of("upsert_group_categories")
_GROUPS = text_of("upsert_groups")
_GROUP_MEMBERSHIPS = text_of("upsert_group_memberships")
_ATTACHMENTS = text_of("upsert_attachments")


def _columns(changes: Sequence[Change], keys: int) -> Iterator[list[Any]]:
    """Ids, as_of, told, then one list per key, as the statements take them."""
    yield [change.row[0] for change in changes]
    yield [change.as_of for change in changes]
    yield [change.told for change in changes]
    for key in range(keys):
        yield [change.values[key] for change in changes]


async def _upsert(conn: Connection, statement: str, kind: Kind, changes: Sequence[Change]) -> int:
    return _rows(await conn.execute(statement, *_columns(changes, len(SHAPES[kind].keys))))


def _rows(status: str) -> int:
    """The count at the end of a command tag such as ``INSERT 0 5``."""
    return int(status.rpartition(" ")[2])


async def take_roster_turn(conn: Connection) -> None:
    """Wait for those who write users, enrolments or memberships; others wait until the transaction ends.

    The one coroutine here without changes and without a count. It comes first in a transaction.
    """
    await conn.execute(_TAKE_ROSTER_TURN)


async def upsert_user_accounts(conn: Connection, changes: Sequence[Change]) -> int:
    """Members of accounts; a row is (account id, user id)."""
    accounts = [change.row[0] for change in changes]
    users = [change.row[1] for change in changes]
    return _rows(await conn.execute(_USER_ACCOUNTS, accounts, users, [change.as_of for change in changes]))


async def upsert_enrollments(conn: Connection, changes: Sequence[Change], states: Sequence[Change]) -> int:
    """Enrolments and their date-aware states; a row may be in both lists, and either may be empty."""
    enrolled = _columns(changes, len(SHAPES[Kind.ENROLLMENT].keys))
    ids, as_of, _, state = _columns(states, 1)
    return _rows(await conn.execute(_ENROLLMENTS, *enrolled, ids, as_of, state))


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
