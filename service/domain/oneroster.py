"""What the rows of OneRoster's files mean for the directory (CONTRACT 5.1).

A class is a course with one section, both under the class's id. Organisations are accounts.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from service.contracts.oneroster import (
    AcademicSessionRow,
    ClassRow,
    CourseRow,
    EnrollmentRow,
    OrgRow,
    RoleRow,
    UserRow,
)
from service.domain.directory_shapes import Kind
from service.domain.snapshots import (
    ROOT,
    Agents,
    CourseDates,
    EnrollmentDates,
    Guardian,
    Member,
    Record,
    Reference,
    Row,
    SisKind,
    Term,
    uuid_of,
)

_GUARDIANS = frozenset({"guardian", "parent"})
_TYPES = {
    "student": "StudentEnrollment",
    "teacher": "TeacherEnrollment",
    "aide": "TaEnrollment",
    "guardian": "ObserverEnrollment",
    "parent": "ObserverEnrollment",
    "relative": "ObserverEnrollment",
}
Columns = frozenset[str]


def _user(sis_id: str) -> Reference:
    return Reference(SisKind.USER, sis_id)


def _account(sis_id: str | None) -> Reference:
    return ROOT if sis_id is None else Reference(SisKind.ACCOUNT, sis_id)


def _of_org(row: OrgRow, columns: Columns) -> Iterator[Record]:
    yield Row(
        Kind.ACCOUNT,
        Reference(SisKind.ACCOUNT, row.sourcedid),
        {
            "name": row.name,
            "workflow_state": "deleted" if row.deleted else "active",
            "root_account_id": ROOT,
            "parent_account_id": _account(row.parentsourcedid),
        },
    )


def _of_academic_session(row: AcademicSessionRow, columns: Columns) -> Iterator[Record]:
    dates = (None, None) if row.deleted else (row.startdate, row.enddate)
    yield Term(Reference(SisKind.TERM, row.sourcedid), *dates)


def _of_course(row: CourseRow, columns: Columns) -> Iterator[Record]:
    return iter(())


def _of_class(row: ClassRow, columns: Columns) -> Iterator[Record]:
    course = Reference(SisKind.COURSE, row.sourcedid)
    said: dict[str, Any] = {"name": row.title, "account_id": _account(row.schoolsourcedid)}
    initial: dict[str, Any] = {"uuid": uuid_of(course)}
    if row.deleted:
        said["workflow_state"] = "deleted"
    else:
        initial["workflow_state"] = "available"
    yield Row(
        Kind.SECTION,
        Reference(SisKind.SECTION, row.sourcedid),
        {
            "course_id": course,
            "name": row.title,
            "workflow_state": "deleted" if row.deleted else "active",
            "sis_source_id": row.sourcedid,
        },
        {"default_section": True},
    )
    yield Row(Kind.COURSE, course, said, initial)
    if "termsourcedids" in columns:
        yield CourseDates(course, tuple(Reference(SisKind.TERM, term) for term in row.termsourcedids), None, None)


def _of_user(row: UserRow, columns: Columns) -> Iterator[Record]:
    own = _user(row.sourcedid)
    given = row.preferredgivenname or row.givenname
    family = row.preferredfamilyname or row.familyname
    name = " ".join(filter(None, (given, family)))
    said: dict[str, Any] = {
        "name": name,
        "short_name": name,
        "workflow_state": "deleted" if row.deleted else "registered",
        "user_login": row.username,
        "user_sis_id": row.sourcedid,
    }
    if given and family:
        said["sortable_name"] = f"{family}, {given}"
    if "pronouns" in columns:
        said["pronouns"] = row.pronouns
    yield Row(Kind.USER, own, said, {"uuid": uuid_of(own)})
    if not row.deleted:
        yield Member(ROOT, own)
        for org in {*row.orgsourcedids, row.primaryorgsourcedid} - {None}:
            yield Member(_account(org), own)
    if row.role in _GUARDIANS:
        yield Guardian(own, not row.deleted)
    if "agentsourcedids" in columns:
        agents = () if row.deleted else row.agentsourcedids
        yield Agents(own, tuple(_user(agent) for agent in dict.fromkeys(agents) if agent != row.sourcedid))


def _of_role(row: RoleRow, columns: Columns) -> Iterator[Record]:
    if row.role in _GUARDIANS:
        yield Guardian(_user(row.usersourcedid), not row.deleted)
    if not row.deleted:
        yield Member(_account(row.orgsourcedid), _user(row.usersourcedid))


def _of_enrollment(row: EnrollmentRow, columns: Columns) -> Iterator[Record]:
    if row.role not in _TYPES:
        if not row.deleted:
            yield Member(_account(row.schoolsourcedid), _user(row.usersourcedid))
        return
    own = Reference(SisKind.ENROLLMENT, row.sourcedid)
    yield Row(
        Kind.ENROLLMENT,
        own,
        {
            "course_id": Reference(SisKind.COURSE, row.classsourcedid),
            "course_section_id": Reference(SisKind.SECTION, row.classsourcedid),
            "user_id": _user(row.usersourcedid),
            "type": _TYPES[row.role],
            "workflow_state": "deleted" if row.deleted else "active",
        },
        {"associated_user_id": None, "limit_privileges_to_course_section": False},
    )
    if not columns.isdisjoint(("begindate", "enddate")):
        yield EnrollmentDates(own, row.begindate, row.enddate)


RECORDS: Mapping[type, Callable[[Any, Columns], Iterator[Record]]] = MappingProxyType(
    {
        OrgRow: _of_org,
        AcademicSessionRow: _of_academic_session,
        CourseRow: _of_course,
        ClassRow: _of_class,
        UserRow: _of_user,
        RoleRow: _of_role,
        EnrollmentRow: _of_enrollment,
    }
)

# Of what a file holds everything, so that it differs where the directory has more.
KINDS: Mapping[type, tuple[str, ...]] = MappingProxyType(
    {
        OrgRow: (Kind.ACCOUNT,),
        AcademicSessionRow: ("terms",),
        ClassRow: (Kind.COURSE, Kind.SECTION),
        UserRow: (Kind.USER, "agents"),
        RoleRow: ("guardians",),
        EnrollmentRow: (Kind.ENROLLMENT,),
    }
)
