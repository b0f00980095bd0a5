"""Who a user is to the institution: the rows from which service/domain/rights.py derives rights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from service.domain.contexts import Context, ContextType
from service.domain.rights import AdminRecord, Enrollment, Override
from sql.connection import Connection
from sql.statements import Many, Single, Value


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


class RightsRow(NamedTuple):
    """What a user's rights follow from: each a JSON array of rows, None for an empty one."""

    enrollments: str | None
    admin_records: str | None
    group_ids: str | None
    sections: str | None
    groups: str | None
    courses: str | None
    chains: str | None
    overrides: str | None


@dataclass(frozen=True, slots=True)
class HeldRights:
    """What a user's rights follow from, and the places they were asked for.

    ``enrollments``: active, invited and completed ones; ``admin_records``: those in force. ``group_ids``: groups of
    which the user is an accepted member, where any group was asked for. ``chains``: account id -> itself and all
    accounts above it, nearest first. ``courses``: deleted ones included. ``overrides``: set on these very courses and
    accounts.
    """

    enrollments: list[Enrollment]
    admin_records: list[AdminRecord]
    group_ids: frozenset[int]
    sections: Mapping[int, int]
    groups: Mapping[int, GroupRow]
    courses: list[CourseRow]
    chains: Mapping[int, tuple[int, ...]]
    overrides: Mapping[Override, bool]


_RIGHTS = Single("rights_of", RightsRow)
_SECTIONS = Many("sections_by_id", SectionRow)
_GROUPS = Many("groups_by_id", GroupRow)
_IS_ROOT = Value[bool | None]("is_root_account")
_GRANTING = Value[list[int]]("accounts_granting")


def _rows(text: str | None) -> list[Any]:
    return orjson.loads(text) if text else []


async def rights_of(
    conn: Connection,
    user_id: int,
    *,
    course_ids: Sequence[int],
    section_ids: Sequence[int],
    group_ids: Sequence[int],
    account_ids: Sequence[int],
    everywhere: bool,
) -> HeldRights:
    """What the user's rights in these places follow from; ``everywhere``: also in all own courses and groups."""
    row = await _RIGHTS(
        conn,
        user_id=user_id,
        course_ids=course_ids,
        section_ids=section_ids,
        group_ids=group_ids,
        account_ids=account_ids,
        everywhere=everywhere,
    )
    return HeldRights(
        enrollments=[Enrollment(*found) for found in _rows(row.enrollments)],
        admin_records=[AdminRecord(*found) for found in _rows(row.admin_records)],
        group_ids=frozenset(_rows(row.group_ids)),
        sections=dict(_rows(row.sections)),
        groups={found[0]: GroupRow(*found) for found in _rows(row.groups)},
        courses=[CourseRow(*found) for found in _rows(row.courses)],
        chains={start: tuple(path) for start, path in _rows(row.chains)},
        overrides={
            Override(Context(ContextType(type_), id_), role, permission): enabled
            for type_, id_, role, permission, enabled in _rows(row.overrides)
        },
    )


async def sections_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Section id -> course id, of those that exist."""
    return {row.id: row.course_id for row in await _SECTIONS(conn, section_ids=ids)}


async def groups_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, GroupRow]:
    """Group id -> group, of those that exist."""
    return {row.id: row for row in await _GROUPS(conn, group_ids=ids)}


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
