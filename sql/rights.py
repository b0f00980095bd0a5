"""Who a user is to the institution: the rows from which service/domain/rights.py derives rights."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.domain.contexts import Context, ContextType
from service.domain.rights import AdminRecord, Enrollment, Override
from sql.connection import Connection
from sql.statements import Many, Value


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


class SectionRow(NamedTuple):
    """A section and its course."""

    id: int
    course_id: int


class AccountChain(NamedTuple):
    """An account, and the path from it to the root, both ends included."""

    start: int
    path: list[int]


class OverrideRow(NamedTuple):
    """A role override in force on a course or account."""

    context_type: str
    context_id: int
    role: str
    permission: str
    enabled: bool


_ENROLLMENTS = Many("enrollments_of", Enrollment)
_ADMIN_RECORDS = Many("admin_records_of", AdminRecord)
_GROUP_IDS = Value[list[int]]("group_ids_of")
_COURSES = Many("courses_by_id", CourseRow)
_SECTIONS = Many("sections_by_id", SectionRow)
_GROUPS = Many("groups_by_id", GroupRow)
_CHAINS = Many("account_chains", AccountChain)
_OVERRIDES = Many("overrides_on", OverrideRow)
_IS_ROOT = Value[bool | None]("is_root_account")
_GRANTING = Value[list[int]]("accounts_granting")


async def enrollments_of(conn: Connection, user_id: int) -> list[Enrollment]:
    """Active, invited and completed enrolments of a user."""
    return await _ENROLLMENTS(conn, user_id=user_id)


async def admin_records_of(conn: Connection, user_id: int) -> list[AdminRecord]:
    """Administrator records of a user that are in force."""
    return await _ADMIN_RECORDS(conn, user_id=user_id)


async def group_ids_of(conn: Connection, user_id: int) -> frozenset[int]:
    """Groups of which the user is an accepted member."""
    return frozenset(await _GROUP_IDS(conn, user_id=user_id))


async def courses_by_id(conn: Connection, ids: Sequence[int]) -> list[CourseRow]:
    """The courses among ``ids`` that exist, deleted ones included."""
    return await _COURSES(conn, course_ids=ids)


async def sections_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Section id -> course id, of those that exist."""
    return {row.id: row.course_id for row in await _SECTIONS(conn, section_ids=ids)}


async def groups_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, GroupRow]:
    """Group id -> group, of those that exist."""
    return {row.id: row for row in await _GROUPS(conn, group_ids=ids)}


async def account_chains(conn: Connection, ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Account id -> itself and all accounts above it, nearest first."""
    return {chain.start: tuple(chain.path) for chain in await _CHAINS(conn, account_ids=ids)}


async def overrides_on(
    conn: Connection, course_ids: Sequence[int], account_ids: Sequence[int]
) -> Mapping[Override, bool]:
    """Role overrides set on these very courses and accounts."""
    return {
        Override(Context(ContextType(row.context_type), row.context_id), row.role, row.permission): row.enabled
        for row in await _OVERRIDES(conn, course_ids=course_ids, account_ids=account_ids)
    }


async def is_root_account(conn: Connection, account_id: int) -> bool | None:
    """Whether an account has none above it; None when it is not known."""
    return await _IS_ROOT(conn, account_id=account_id)


async def accounts_granting(conn: Connection, right: str, records: Sequence[tuple[AdminRecord, bool]]) -> list[int]:
    """Accounts where these administrator records hold a right.

    Each record comes with whether it holds the right on its own account.
    """
    return await _GRANTING(
        conn,
        account_ids=[record.account_id for record, _ in records],
        roles=[record.role for record, _ in records],
        granted=[granted for _, granted in records],
        everywhere=[record.site_admin for record, _ in records],
        right=right,
    )
