"""SIS ids and what they are in the directory."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from service.domain.snapshots import Reference, SisKind
from sql.arrays import array_text
from sql.connection import Connection
from sql.statements import Column, Many, Single, Value

Key = tuple[int | str | None, ...]


class RememberedRow(NamedTuple):
    """Positions from 1 of the SIS ids that were met before, and the ids of these; null: none was."""

    positions: list[int] | None
    ids: list[int] | None


class UserBySisId(NamedTuple):
    """A user whom events have brought."""

    sis_id: str
    id: int


class SectionBySisId(NamedTuple):
    """A section that events have brought, and its course."""

    sis_id: str
    id: int
    course_id: int


class AlikeRow(NamedTuple):
    """A row like the one asked about at that position, from 1."""

    position: int
    id: int


class PlacedRow(NamedTuple):
    """A section or an enrolment, and the course it is in."""

    id: int
    course_id: int


class NamedRow(NamedTuple):
    """An id and the SIS id it was met under."""

    id: int
    sis_id: str


_REMEMBERED = Single("remembered_sis_ids", RememberedRow)
_USERS = Many("users_by_sis_id", UserBySisId)
_MERGED = Column[str]("merged_sis_ids")
_SECTIONS = Many("sections_by_sis_id", SectionBySisId)
_ENROLLMENTS = Many("enrollments_alike", AlikeRow)
_GROUP_MEMBERSHIPS = Many("group_memberships_alike", AlikeRow)
_ACCOUNT_USERS = Many("account_users_alike", AlikeRow)
_REMEMBER = Value[list[int]]("remember_sis_ids")
_SIS_IDS_OF = Many("sis_ids_of", NamedRow)
_COURSES_OF_SECTIONS = Many("courses_of_sections", PlacedRow)
_MISPLACED = Many("misplaced_enrollments", PlacedRow)


async def remembered_sis_ids(conn: Connection, asked: Sequence[Reference]) -> dict[Reference, int]:
    """Ids of those that were met before."""
    if not asked:
        return {}
    row = await _REMEMBERED(conn, kinds=_kinds(asked), sis_ids=[sis_id for _, sis_id in asked])
    return {asked[position - 1]: own for position, own in zip(row.positions or (), row.ids or (), strict=True)}


async def remember_sis_ids(conn: Connection, known: Mapping[Reference, int | None]) -> dict[Reference, int]:
    """Keeps them for ever; those without an id are given one. None of them may be remembered already."""
    asked, sis_ids = list(known), [sis_id for _, sis_id in known]
    ids = await _REMEMBER(conn, kinds=_kinds(asked), sis_ids=sis_ids, ids=array_text(list(known.values())))
    return dict(zip(asked, ids, strict=True))


def _kinds(asked: Sequence[Reference]) -> str:
    """As the text of an array: they are plain words, and asyncpg takes its time with each."""
    return "{" + ",".join([kind for kind, _ in asked]) + "}"


async def users_by_sis_id(conn: Connection, sis_ids: Sequence[str]) -> list[UserBySisId]:
    """Users whom events have brought with these SIS ids."""
    return await _USERS(conn, sis_ids=sis_ids)


async def merged_sis_ids(conn: Connection, sis_ids: Sequence[str]) -> list[str]:
    """Those of users who have been merged into others, who go by other ones."""
    return await _MERGED(conn, sis_ids=sis_ids)


async def sections_by_sis_id(conn: Connection, sis_ids: Sequence[str]) -> list[SectionBySisId]:
    """Sections that events have brought with these SIS ids."""
    return await _SECTIONS(conn, sis_ids=sis_ids)


async def enrollments_alike(conn: Connection, keys: Sequence[Key]) -> list[AlikeRow]:
    """Of (user id, course id, section id, type, observed user's id)."""
    users, courses, sections, types, observed = zip(*keys, strict=True)
    return await _ENROLLMENTS(
        conn, user_ids=users, course_ids=courses, section_ids=sections, types=types, observed_ids=observed
    )


async def group_memberships_alike(conn: Connection, keys: Sequence[Key]) -> list[AlikeRow]:
    """Of (group id, user id)."""
    groups, users = zip(*keys, strict=True)
    return await _GROUP_MEMBERSHIPS(conn, group_ids=groups, user_ids=users)


async def account_users_alike(conn: Connection, keys: Sequence[Key]) -> list[AlikeRow]:
    """Of (account id, user id, role)."""
    accounts, users, roles = zip(*keys, strict=True)
    return await _ACCOUNT_USERS(conn, account_ids=accounts, user_ids=users, roles=roles)


async def sis_ids_of(conn: Connection, kind: SisKind, ids: Collection[int]) -> dict[int, str]:
    """The SIS ids under which these were met."""
    return {row.id: row.sis_id for row in await _SIS_IDS_OF(conn, kind=kind, ids=list(ids))}


async def courses_of_sections(conn: Connection, ids: Collection[int]) -> dict[int, int]:
    """The courses of those sections that the directory knows."""
    return {row.id: row.course_id for row in await _COURSES_OF_SECTIONS(conn, ids=list(ids))}


async def misplaced_enrollments(conn: Connection, section_ids: Collection[int]) -> list[PlacedRow]:
    """Enrolments in these sections whose course is another one than the section's, with the section's."""
    return await _MISPLACED(conn, section_ids=list(section_ids))
