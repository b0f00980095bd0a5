"""Snapshots of a student information system, written to the directory's tables (CONTRACT 5.1).

They go the way of events: what is newer wins, and a snapshot is as of the moment at which its import began.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from service.application.directory.changes import Followed, by_kind, in_parts, in_transaction, write_changes
from service.application.directory.sis_ids import Ids, lasting_ids, without_merged
from service.domain.directory import Change
from service.domain.directory_shapes import SHAPES, Kind
from service.domain.snapshots import (
    FIRST_ID,
    Agents,
    CourseDates,
    EnrollmentDates,
    Guardian,
    Member,
    Observer,
    Record,
    Reference,
    Row,
    Term,
    dated,
)
from sql import observers, sis_ids, terms
from sql.connection import Connection
from sql.directory import take_roster_turn

_EVERYTHING = {kind: (1 << len(shape.keys)) - 1 for kind, shape in SHAPES.items()}
_BITS = {kind: [(key, 1 << position) for position, key in enumerate(shape.keys)] for kind, shape in SHAPES.items()}
_NO_IDS: Mapping[Reference, int] = MappingProxyType({})
_USER = SHAPES[Kind.ENROLLMENT].keys.index("user_id")


async def follow(conn: Connection, records: Sequence[Record], as_of: datetime, root_account_id: int) -> Followed:
    """Write records, each set in one transaction; one that the database refuses does not take the others with it."""

    async def write(part: Sequence[Record]) -> Counter[Kind]:
        return await in_transaction(conn, lambda: _write(conn, part, as_of, root_account_id))

    return await in_parts(records, write)


async def _write(conn: Connection, records: Sequence[Record], as_of: datetime, root_account_id: int) -> Counter[Kind]:
    # Also where no roster changes: two imports of the same SIS ids are not to give them two ids.
    await take_roster_turn(conn)
    records = await without_merged(conn, records)
    ids = await lasting_ids(conn, records, root_account_id)
    changes = [*await row_changes(conn, records, ids, as_of), *await _course_dates(conn, records, ids, as_of)]
    written = await write_changes(conn, by_kind(changes))
    moved = await _put_in_their_courses(conn, changes, as_of)
    written += await write_changes(conn, by_kind(moved))
    students = await _newly_observed(conn, records, ids)
    enrollments = await _enrollments_of_observed(conn, changes)
    enrollments += [change.row[0] for change in moved]
    return written + await _observe(conn, enrollments, students, as_of)


def said_of(row: Row, own_id: int | None) -> Mapping[str, Any]:
    """All that a snapshot says of a row: more where the row came by a snapshot."""
    return {**row.initial, **row.values} if own_id is not None and own_id >= FIRST_ID else row.values


def change_of(
    kind: Kind, row: tuple[int, ...], said: Mapping[str, Any], as_of: datetime, ids: Mapping[Reference, int] = _NO_IDS
) -> Change:
    """The change that gives a row these values, by their keys; of a Reference among them the id."""
    present = 0
    values = []
    for key, bit in _BITS[kind]:
        value = None
        if key in said:
            present |= bit
            value = said[key]
            if isinstance(value, Reference):
                value = ids[value]
        values.append(value)
    return Change(kind, row, as_of, None if present == _EVERYTHING[kind] else present, tuple(values))


async def row_changes(conn: Connection, records: Sequence[Record], ids: Ids, as_of: datetime) -> list[Change]:
    """The changes of rows and members of accounts. An enrolment is in the course that its section is in."""
    courses = await courses_of_enrollments(conn, records, ids)
    found = []
    for record in records:
        if isinstance(record, Row):
            own = ids[record.own]
            said = said_of(record, own)
            if record.kind is Kind.ENROLLMENT:
                section = said.get("course_section_id")
                course = None if section is None else courses.get(ids[section])
                said = {**said, "course_id": said.get("course_id") if course is None else course}
            found.append(change_of(record.kind, (own,), said, as_of, ids))
        elif isinstance(record, Member):
            found.append(Change(Kind.USER_ACCOUNT, (ids[record.account], ids[record.user]), as_of, None, ()))
        elif isinstance(record, EnrollmentDates):
            own, state = ids[record.enrollment], record.state(as_of)
            if state is not None or own >= FIRST_ID:
                found.append(Change(Kind.ENROLLMENT_STATE, (own,), as_of, None, (state,)))
    return found


async def courses_of_enrollments(
    conn: Connection, records: Sequence[Record], ids: Mapping[Reference, int]
) -> dict[int, int]:
    """The courses of the sections that enrolments name, as far as the directory knows them."""
    named = {
        record.values["course_section_id"]
        for record in records
        if isinstance(record, Row) and "course_section_id" in record.values
    }
    sections = [ids[each] for each in named if each in ids]
    return await sis_ids.courses_of_sections(conn, sections) if sections else {}


async def _course_dates(conn: Connection, records: Sequence[Record], ids: Ids, as_of: datetime) -> list[Change]:
    """The changes of courses' dates: of those that say something, and of those whose terms do."""
    said = {ids[each.own]: each for each in records if isinstance(each, Term)}
    if said:
        await terms.put_terms(conn, [terms.TermRow(own, each.start_at, each.end_at) for own, each in said.items()])
    own_dates = course_dates(records, ids)
    if own_dates:
        await terms.put_course_dates(conn, list(own_dates.values()))
    found = {own.course_id: dates for own, dates in await dates_of(conn, list(own_dates.values()))}
    for each in await terms.courses_of_terms(conn, said.keys()) if said else ():
        found[each.course_id] = (each.start_at, each.end_at)
    return [change_of(Kind.COURSE, (course,), dates_said(*dates), as_of) for course, dates in found.items()]


def course_dates(records: Sequence[Record], ids: Mapping[Reference, int]) -> dict[int, terms.OwnDates]:
    """What courses that are known say of their dates, the last of each; terms that are not known are left out."""
    return {
        ids[each.course]: terms.OwnDates(
            ids[each.course], tuple(ids[term] for term in each.terms if term in ids), each.start_at, each.end_at
        )
        for each in records
        if isinstance(each, CourseDates) and each.course in ids
    }


async def dates_of(
    conn: Connection, own: Sequence[terms.OwnDates]
) -> list[tuple[terms.OwnDates, tuple[datetime | None, datetime | None]]]:
    """The dates that follow from the own ones and the terms."""
    rows = await terms.dates_of_courses(conn, own) if own else []
    return [(own[row.position - 1], (row.start_at, row.end_at)) for row in rows]


def dates_said(start_at: datetime | None, end_at: datetime | None) -> dict[str, Any]:
    """A course's dates by the keys of its shape."""
    return {"start_at": start_at, "conclude_at": end_at, **dated("course", start_at, end_at)}


async def _put_in_their_courses(conn: Connection, changes: Sequence[Change], as_of: datetime) -> list[Change]:
    """Enrolments that came before their sections, or whose sections have moved."""
    sections = {change.row[0] for change in changes if change.kind is Kind.SECTION}
    if not sections:
        return []
    found = await sis_ids.misplaced_enrollments(conn, sections)
    return [change_of(Kind.ENROLLMENT, (row.id,), {"course_id": row.course_id}, as_of) for row in found]


async def _newly_observed(conn: Connection, records: Sequence[Record], ids: Ids) -> set[int]:
    """Keeps who observes whom; returns the students with whom that may have changed."""
    students: set[int] = set()
    if pairs := {(ids[r.observer], ids[r.student]): r.active for r in records if isinstance(r, Observer)}:
        await observers.put_observers(conn, pairs)
        students |= {student for _, student in pairs}
    if agents := {ids[r.user]: [ids[agent] for agent in r.agents] for r in records if isinstance(r, Agents)}:
        students |= set(await observers.put_agents(conn, agents))
    if guardians := {ids[r.user]: r.active for r in records if isinstance(r, Guardian)}:
        students |= set(await observers.put_guardians(conn, guardians))
    return students


async def _enrollments_of_observed(conn: Connection, changes: Sequence[Change]) -> list[int]:
    """The enrolments among the changes whose users others observe."""
    users = {change.row[0]: change.values[_USER] for change in changes if change.kind is Kind.ENROLLMENT}
    if not users:
        return []
    observed = set(await observers.observed_among(conn, set(users.values())))
    return [enrollment for enrollment, user in users.items() if user in observed]


async def _observe(
    conn: Connection, enrollments: Sequence[int], students: Collection[int], as_of: datetime
) -> Counter[Kind]:
    """Enrols observers in what those whom they observe are enrolled in, and takes them out of it."""
    if not enrollments and not students:
        return Counter()
    due = await observers.due_observations(conn, enrollments, students)
    new = [each for each in due if each.enrollment_id is None]
    made = iter(await observers.put_observations(conn, new) if new else ())
    changes = []
    for each in due:
        own = next(made) if each.enrollment_id is None else each.enrollment_id
        said = {
            "course_id": each.course_id,
            "course_section_id": each.section_id,
            "user_id": each.observer_id,
            "type": "ObserverEnrollment",
            "associated_user_id": each.student_id,
            "workflow_state": each.workflow_state,
            "limit_privileges_to_course_section": False,
        }
        changes.append(change_of(Kind.ENROLLMENT, (own,), said, as_of))
        changes.append(Change(Kind.ENROLLMENT_STATE, (own,), as_of, None, (each.date_state,)))
    return await write_changes(conn, by_kind(changes))
