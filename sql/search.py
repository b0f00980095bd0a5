"""People and places as a search finds them: the rows of canvas/endpoints.md 4.13."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from service.domain.search import beginning, pattern
from service.domain.visibility import Members, Range, rows
from sql.connection import Connection
from sql.statements import Column, Many

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

    def parameters(self) -> dict[str, object]:
        """What the four statements have in common."""
        after_name, after_id = self.after
        return {
            "after_name": after_name,
            "after_id": after_id,
            "patterns": self.patterns,
            "excluded": self.excluded,
            "viewer_id": self.viewer_id,
            "ranges": json.dumps(rows(self.ranges)),
            "groups": json.dumps(rows(self.groups)),
            "account_ids": self.accounts,
            "wanted": self.wanted,
        }


class FoundPerson(NamedTuple):
    """A person on a page; name is the short name where there is one."""

    id: int
    name: str
    full_name: str
    pronouns: str | None
    uuid: str | None
    avatar_url: str | None
    sort_name: str
    inconclusive: bool = False  # the row is no person: from here on the statement did not look


def _conclusive(found: Sequence[FoundPerson], wanted: int) -> list[FoundPerson] | None:
    # A row of nulls is what a statement of nothing but the mark, or of nothing at all, brings.
    people = [row for row in found if not row.inconclusive and row.id is not None]
    if len(people) < wanted and any(row.inconclusive for row in found):
        return None
    return people


class SectionRow(NamedTuple):
    """A section of a course."""

    id: int
    course_id: int
    name: str
    default_section: bool


class GroupRow(NamedTuple):
    """A group; course_id when it is a course's."""

    id: int
    name: str
    course_id: int | None
    account_id: int | None
    differentiation_tag: bool


class Headcount(NamedTuple):
    """People in a course or section, and how many of them hold each role."""

    everybody: int
    teachers: int = 0
    tas: int = 0
    students: int = 0
    observers: int = 0


class HeadcountRow(NamedTuple):
    """The headcount that answers question n."""

    n: int
    everybody: int
    teachers: int
    tas: int
    students: int
    observers: int


class MembersRow(NamedTuple):
    """How many members the group of question n has."""

    n: int
    everybody: int


class TypesRow(NamedTuple):
    """Enrolment types of a user in one course, in alphabetical order."""

    user_id: int
    types: list[str]


_AMONG_FEW = Many("search_among_few", FoundPerson)
_IN_ROSTERS = Many("search_in_rosters", FoundPerson)
_BY_NAME = Many("search_by_name", FoundPerson)
_BY_MATCH = Many("search_by_match", FoundPerson)
_SECTIONS = Many("searched_sections", SectionRow)
_GROUPS = Many("searched_groups", GroupRow)
_ENDED_LATELY = Column[int]("courses_ended_lately")
_COUNT_ENROLLED = Many("count_enrolled", HeadcountRow)
_COUNT_MEMBERS = Many("count_members", MembersRow)
_TYPES = Many("types_in_course", TypesRow)


async def search_among_few(conn: Connection, asked: Asked, few: int) -> list[FoundPerson] | None:
    """The page, or None when the viewer sees more than ``few`` enrolments and memberships. Accounts do not count."""
    return _conclusive(await _AMONG_FEW(conn, few=few, **asked.parameters()), asked.wanted)


async def search_in_rosters(conn: Connection, asked: Asked, steps: int) -> list[FoundPerson] | None:
    """The same, or None when ``steps`` people of each place did not fill it. Accounts do not count."""
    return _conclusive(await _IN_ROSTERS(conn, steps=steps, **asked.parameters()), asked.wanted)


async def search_by_name(conn: Connection, asked: Asked, steps: int) -> list[FoundPerson] | None:
    """The same, or None when ``steps`` people in the order of names did not fill it."""
    return _conclusive(await _BY_NAME(conn, steps=steps, **asked.parameters()), asked.wanted)


async def search_by_match(
    conn: Connection, asked: Asked, few: int, longest: str, steps: int
) -> list[FoundPerson] | None:
    """The same, or None when more than ``few`` people's names hold ``longest`` or ``steps`` of them did not fill it."""
    short = len(longest.lower()) < _TRIGRAM
    found = await _BY_MATCH(
        conn,
        few=few,
        longest_pattern=None if short else pattern(longest),
        longest_tsquery=beginning(longest) if short else None,
        steps=steps,
        **asked.parameters(),
    )
    return _conclusive(found, asked.wanted)


async def sections_of(conn: Connection, course_ids: Sequence[int]) -> list[SectionRow]:
    """Sections of the courses, ids ascending."""
    return await _SECTIONS(conn, course_ids=course_ids)


async def groups_of(conn: Connection, course_ids: Sequence[int], group_ids: Sequence[int]) -> list[GroupRow]:
    """Groups of the courses and those with the given ids, ids ascending."""
    return await _GROUPS(conn, course_ids=course_ids, group_ids=group_ids)


async def ended_lately(conn: Connection, course_ids: Sequence[int]) -> frozenset[int]:
    """Those of the courses that ended within the last month."""
    return frozenset(await _ENDED_LATELY(conn, course_ids=course_ids))


def _numbered(questions: Mapping[int, Sequence[Range | Members]]) -> str:
    records: list[dict[str, Any]] = [{"n": n, **item.row()} for n, items in questions.items() for item in items]
    return json.dumps(records)


async def count_enrolled(
    conn: Connection, viewer_id: int, questions: Mapping[int, Sequence[Range]]
) -> dict[int, Headcount]:
    """People in the ranges of each question; a question without people is absent."""
    found = await _COUNT_ENROLLED(conn, ranges=_numbered(questions), viewer_id=viewer_id)
    return {n: Headcount(*counts) for n, *counts in found}


async def count_members(conn: Connection, questions: Mapping[int, Members]) -> dict[int, Headcount]:
    """Members of the group of each question; a question without people is absent."""
    found = await _COUNT_MEMBERS(conn, groups=_numbered({n: [group] for n, group in questions.items()}))
    return {row.n: Headcount(row.everybody) for row in found}


async def types_in_course(conn: Connection, course_id: int, user_ids: Sequence[int]) -> dict[int, list[str]]:
    """Enrolment types in the course by user, for those who have any."""
    return {row.user_id: row.types for row in await _TYPES(conn, course_id=course_id, user_ids=user_ids)}
