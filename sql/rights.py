"""Who a user is to the institution: the rows from which service/domain/rights.py derives rights."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.domain.contexts import Context, ContextType
from service.domain.rights import AdminRecord, Enrollment, Override
from sql.connection import Connection
from sql.statements import text_of

_ENROLLMENTS = text_of("enrollments_of")
_ADMIN_RECORDS = text_of("admin_records_of")
_GROUP_IDS = text_of("group_ids_of")
_COURSES = text_of("courses_by_id")
_SECTIONS = text_of("sections_by_id")
_GROUPS = text_of("groups_by_id")
_CHAINS = text_of("account_chains")
_OVERRIDES = text_of("overrides_on")
_ACCOUNT = text_of("account_by_id")
_GRANTING = text_of("accounts_granting")


class CourseRow(NamedTuple):
    """A course without the accounts above it."""

    id: int
    name: str
    workflow_state: str
    account_id: int | None
    ended: bool
    ended_long_ago: bool


class GroupRow(NamedTuple):
    """A group; course_id when it is a course's, account_id of its account when known."""

    id: int
    course_id: int | None
    account_id: int | None
    differentiation_tag: bool


async def enrollments_of(conn: Connection, user_id: int) -> list[Enrollment]:
    """Active, invited and completed enrolments of a user."""
    return [Enrollment(*row) for row in await conn.fetch(_ENROLLMENTS, user_id)]


async def admin_records_of(conn: Connection, user_id: int) -> list[AdminRecord]:
    """Administrator records of a user that are in force."""
    return [AdminRecord(*row) for row in await conn.fetch(_ADMIN_RECORDS, user_id)]


async def group_ids_of(conn: Connection, user_id: int) -> frozenset[int]:
    """Groups of which the user is an accepted member."""
    return frozenset(await conn.fetchval(_GROUP_IDS, user_id))


async def courses_by_id(conn: Connection, ids: Sequence[int]) -> list[CourseRow]:
    """The courses among ``ids`` that exist, deleted ones included."""
    return [CourseRow(*row) for row in await conn.fetch(_COURSES, ids)]


async def sections_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Section id -> course id, of those that exist."""
    return {row["id"]: row["course_id"] for row in await conn.fetch(_SECTIONS, ids)}


async def groups_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, GroupRow]:
    """Group id -> group, of those that exist."""
    return {row["id"]: GroupRow(*row) for row in await conn.fetch(_GROUPS, ids)}


async def account_chains(conn: Connection, ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Account id -> itself and all accounts above it, nearest first."""
    return {row["start"]: tuple(row["path"]) for row in await conn.fetch(_CHAINS, ids)}


async def overrides_on(
    conn: Connection, course_ids: Sequence[int], account_ids: Sequence[int]
) -> Mapping[Override, bool]:
    """Role overrides set on these very courses and accounts."""
    return {
        Override(Context(ContextType(row["context_type"]), row["context_id"]), row["role"], row["permission"]): row[
            "enabled"
        ]
        for row in await conn.fetch(_OVERRIDES, course_ids, account_ids)
    }


async def is_root_account(conn: Connection, account_id: int) -> bool | None:
    """Whether an account has none above it; None when it is not known."""
    row = await conn.fetchrow(_ACCOUNT, account_id)
    return None if row is None else row["parent_account_id"] is None


async def accounts_granting(conn: Connection, right: str, records: Sequence[tuple[AdminRecord, bool]]) -> list[int]:
    """Accounts where these administrator records hold a right.

    Each record comes with whether it holds the right on its own account.
    """
    found: list[int] = await conn.fetchval(
        _GRANTING,
        [record.account_id for record, _ in records],
        [record.role for record, _ in records],
        [granted for _, granted in records],
        [record.site_admin for record, _ in records],
        right,
    )
    return found
