"""A snapshot beside the directory: what differs, changing nothing (CONTRACT 5.1)."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson

from service.application.directory.sis_ids import Ids, known_ids, without_merged
from service.application.directory.snapshots import (
    course_dates,
    courses_of_enrollments,
    dates_of,
    dates_said,
    said_of,
)
from service.domain.dates import iso
from service.domain.directory_shapes import Kind
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
    SisKind,
    Term,
)
from sql.connection import Connection
from sql.sis_ids import sis_ids_of
from sql.snapshots import (
    Difference,
    SnapshotRow,
    begin_snapshot,
    differences_of,
    end_snapshot,
    put_snapshot_rows,
)

# In the order in which differences are shown: what others refer to comes first.
_KINDS = (
    "terms",
    Kind.ACCOUNT,
    Kind.COURSE,
    Kind.SECTION,
    Kind.USER,
    Kind.USER_ACCOUNT,
    Kind.ACCOUNT_USER,
    "guardians",
    "agents",
    "observers",
    Kind.GROUP,
    Kind.GROUP_MEMBERSHIP,
    Kind.ENROLLMENT,
)
_SIS_KINDS: Mapping[str, SisKind] = {
    "terms": SisKind.TERM,
    Kind.ACCOUNT: SisKind.ACCOUNT,
    Kind.COURSE: SisKind.COURSE,
    Kind.SECTION: SisKind.SECTION,
    Kind.USER: SisKind.USER,
    Kind.ACCOUNT_USER: SisKind.ACCOUNT_USER,
    Kind.GROUP: SisKind.GROUP,
    Kind.GROUP_MEMBERSHIP: SisKind.GROUP_MEMBERSHIP,
    Kind.ENROLLMENT: SisKind.ENROLLMENT,
}
Said = tuple[str, str, tuple[int, ...] | None, dict[str, Any]]  # kind, label, ids, values


@asynccontextmanager
async def one_moment(conn: Connection) -> AsyncIterator[None]:
    """A transaction that sees the directory of one moment and may not change it."""
    async with conn.transaction(isolation="repeatable_read"):
        await begin_snapshot(conn)
        yield


async def collect(conn: Connection, records: Sequence[Record], now: datetime, root_account_id: int) -> None:
    """Puts a set of records beside the directory. In ``one_moment``."""
    records = await without_merged(conn, records)
    ids = await known_ids(conn, records, root_account_id)
    courses = await courses_of_enrollments(conn, records, ids)
    dates = {own.course_id: each for own, each in await dates_of(conn, list(course_dates(records, ids).values()))}
    said: dict[tuple[str, str], Said] = {}
    for record in records:
        for kind, label, own, values in _said(record, ids, courses, dates, now):
            before = said.get((kind, label))
            said[kind, label] = (kind, label, own, {**(before[3] if before else {}), **values})
    rows = [SnapshotRow(kind, label, own, _json(values)) for kind, label, own, values in said.values()]
    await put_snapshot_rows(conn, rows)


async def found(conn: Connection, whole: Collection[str], most: int) -> dict[str, list[Difference]]:
    """After the last set: the differences of each kind that has some, at most so many of each sort.

    ``whole``: kinds of which the snapshot has everything, so that what the directory has beyond it differs too.
    """
    await end_snapshot(conn)
    differences = {}
    for kind in _KINDS:
        rows = await differences_of(conn, kind, whole=kind in whole, most=most)
        if rows:
            differences[kind] = await _named(conn, kind, rows)
    return differences


async def _named(conn: Connection, kind: str, rows: Sequence[Difference]) -> list[Difference]:
    """With the SIS ids of what the snapshot lacks, where it was met under one."""
    beyond = [row.ids[0] for row in rows if row.label is None and row.ids is not None and kind in _SIS_KINDS]
    labels = await sis_ids_of(conn, _SIS_KINDS[kind], beyond) if beyond else {}
    return [row._replace(label=row.label or labels.get((row.ids or [0])[0])) for row in rows]


def _json(values: Mapping[str, Any]) -> str:
    return orjson.dumps({k: iso(v) if isinstance(v, datetime) else v for k, v in values.items()}).decode()


def _said(
    record: Record,
    ids: Ids,
    courses: Mapping[int, int],
    dates: Mapping[int, tuple[datetime | None, datetime | None]],
    now: datetime,
) -> Iterator[Said]:
    """What one record says, row by row."""

    def row_of(*named: Reference) -> tuple[int, ...] | None:
        return tuple(ids[each] for each in named) if all(each in ids for each in named) else None

    match record:
        case Row(kind, own, _, _):
            said = {key: _id_of(value, ids) for key, value in said_of(record, ids.get(own)).items()}
            if kind is Kind.ENROLLMENT:
                section = said.get("course_section_id")
                course = courses.get(section) if isinstance(section, int) else None
                said["course_id"] = said.get("course_id") if course is None else course
            yield (kind, own.sis_id, row_of(own), said)
        case CourseDates(own):
            known = ids.get(own)
            yield (Kind.COURSE, own.sis_id, row_of(own), {} if known is None else dates_said(*dates[known]))
        case EnrollmentDates(own):
            state = record.state(now)
            told = {"state": state} if state is not None or ids.get(own, 0) >= FIRST_ID else {}
            yield (Kind.ENROLLMENT, own.sis_id, row_of(own), told)
        case Term(own, start_at, end_at):
            yield ("terms", own.sis_id, row_of(own), {"start_at": start_at, "end_at": end_at})
        case Member(account, user):
            if account in ids and user in ids:  # else the account or the user is what is lacking
                label = f"{user.sis_id} in {account.sis_id or 'the root account'}"
                yield (Kind.USER_ACCOUNT, label, row_of(account, user), {})
        case Observer(observer, student, active):
            values = {} if active else {"workflow_state": "deleted"}
            yield ("observers", f"{observer.sis_id} of {student.sis_id}", row_of(observer, student), values)
        case Agents(user, agents):
            for agent in agents:
                yield "agents", f"{user.sis_id} with {agent.sis_id}", row_of(user, agent), {}
        case Guardian(user, active):
            yield ("guardians", user.sis_id, row_of(user), {} if active else {"workflow_state": "deleted"})


def _id_of(value: Any, ids: Ids) -> Any:
    """An id that the directory does not know is equal to none there."""
    return ids.get(value, f"unknown: {value.sis_id}") if isinstance(value, Reference) else value
