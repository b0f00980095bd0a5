"""People and places as a search finds them: the rows of canvas/endpoints.md 4.13."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from service.domain.search import beginning, pattern
from service.domain.visibility import Members, Range, rows
from sql.connection import Connection
from sql.statements import text_of

_AMONG_FEW = text_of("search_among_few")
_IN_ROSTERS = text_of("search_in_rosters")
_BY_NAME = text_of("search_by_name")
_BY_MATCH = text_of("search_by_match")
_SECTIONS = text_of("searched_sections")
_GROUPS = text_of("searched_groups")
_COURSES_IN_TIME = text_of("courses_in_time")
_COUNT_ENROLLED = text_of("count_enrolled")
_COUNT_MEMBERS = text_of("count_members")
_TYPES = text_of("types_in_course")

# Letters a term must have for an index of trigrams to find it.
_TRIGRAM = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a page is to hold.

    ``patterns`` are LIKE patterns in lower case, all of which match a name. ``after`` is the sort name and the id
    behind which the page begins, ``wanted`` its length at most. The viewer sees who has an enrolment in the
    ranges, is in the groups or on the rosters of the accounts.
    """

    viewer_id: int
    ranges: Sequence[Range]
    groups: Sequence[Members]
    accounts: Sequence[int]
    patterns: Sequence[str]
    excluded: Sequence[int]
    after: tuple[str, int]
    wanted: int

    def arguments(self) -> tuple[object, ...]:
        """The first nine parameters of the statements."""
        return (
            *self.after,
            self.patterns,
            self.excluded,
            self.viewer_id,
            json.dumps(rows(self.ranges)),
            json.dumps(rows(self.groups)),
            self.accounts,
            self.wanted,
        )


def _conclusive(found: Sequence[asyncpg.Record], wanted: int) -> list[asyncpg.Record] | None:
    people = [row for row in found if not row["inconclusive"] and row["id"] is not None]
    if len(people) < wanted and any(row["inconclusive"] for row in found):
        return None
    return people


async def search_among_few(conn: Connection, asked: Asked, few: int) -> list[asyncpg.Record] | None:
    """The page, or None when the viewer sees more than ``few`` enrolments and memberships. Accounts are not looked at.

    Columns: id, name (short name, else name), full_name, pronouns, uuid, avatar_url, sort_name.
    """
    return _conclusive(await conn.fetch(_AMONG_FEW, *asked.arguments(), few), asked.wanted)


async def search_in_rosters(conn: Connection, asked: Asked, steps: int) -> list[asyncpg.Record] | None:
    """The same, or None when ``steps`` people of each place did not fill it. Accounts are not looked at."""
    return _conclusive(await conn.fetch(_IN_ROSTERS, *asked.arguments(), steps), asked.wanted)


async def search_by_name(conn: Connection, asked: Asked, steps: int) -> list[asyncpg.Record] | None:
    """The same, or None when ``steps`` people in the order of names did not fill it."""
    return _conclusive(await conn.fetch(_BY_NAME, *asked.arguments(), steps), asked.wanted)


async def search_by_match(
    conn: Connection, asked: Asked, few: int, longest: str, steps: int
) -> list[asyncpg.Record] | None:
    """The same, or None when more than ``few`` people's names hold ``longest`` or ``steps`` of them did not fill it."""
    terms = (None, beginning(longest)) if len(longest.lower()) < _TRIGRAM else (pattern(longest), None)
    return _conclusive(await conn.fetch(_BY_MATCH, *asked.arguments(), few, *terms, steps), asked.wanted)


class SectionRow(NamedTuple):
    """A section of a course."""

    id: int
    course_id: int
    name: str
    default: bool


class GroupRow(NamedTuple):
    """A group; course_id when it is a course's."""

    id: int
    name: str
    course_id: int | None
    account_id: int | None
    differentiation_tag: bool


async def sections_of(conn: Connection, course_ids: Sequence[int]) -> list[SectionRow]:
    """Sections of the courses, ids ascending."""
    return [SectionRow(*row) for row in await conn.fetch(_SECTIONS, course_ids)]


async def groups_of(conn: Connection, course_ids: Sequence[int], group_ids: Sequence[int]) -> list[GroupRow]:
    """Groups of the courses and those with the given ids, ids ascending."""
    return [GroupRow(*row) for row in await conn.fetch(_GROUPS, course_ids, group_ids)]


async def ended_lately(conn: Connection, course_ids: Sequence[int]) -> frozenset[int]:
    """Those of the courses that ended within the last month."""
    return frozenset(row["id"] for row in await conn.fetch(_COURSES_IN_TIME, course_ids) if row["ended_lately"])


class Headcount(NamedTuple):
    """People in a course or section, and how many of them hold each role."""

    everybody: int
    teachers: int = 0
    tas: int = 0
    students: int = 0
    observers: int = 0


def _numbered(questions: Mapping[int, Sequence[Range | Members]]) -> str:
    records: list[dict[str, Any]] = [{"n": n, **item.row()} for n, items in questions.items() for item in items]
    return json.dumps(records)


async def count_enrolled(
    conn: Connection, viewer_id: int, questions: Mapping[int, Sequence[Range]]
) -> dict[int, Headcount]:
    """People in the ranges of each question; a question whose answer is nobody is absent."""
    found = await conn.fetch(_COUNT_ENROLLED, _numbered(questions), viewer_id)
    return {row["n"]: Headcount(*row[1:]) for row in found}


async def count_members(conn: Connection, questions: Mapping[int, Members]) -> dict[int, Headcount]:
    """Members of the group of each question; a question whose answer is nobody is absent."""
    found = await conn.fetch(_COUNT_MEMBERS, _numbered({n: [group] for n, group in questions.items()}))
    return {row["n"]: Headcount(row["everybody"]) for row in found}


async def types_in_course(conn: Connection, course_id: int, user_ids: Sequence[int]) -> dict[int, list[str]]:
    """Enrolment types in the course by user, for those who have any."""
    return {row["user_id"]: row["types"] for row in await conn.fetch(_TYPES, course_id, user_ids)}
