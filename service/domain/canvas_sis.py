"""What the rows of Canvas's SIS import mean for the directory (CONTRACT 5.1).

``columns`` are those that the file has: of a column that is not there nothing is said, while a blank cell clears.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import orjson

from service.contracts.canvas_sis import (
    AccountRow,
    AdminRow,
    CourseRow,
    EnrollmentRow,
    GroupMembershipRow,
    GroupRow,
    SectionRow,
    TermRow,
    UserObserverRow,
    UserRow,
)
from service.domain.directory_shapes import Kind
from service.domain.snapshots import (
    ROOT,
    CourseDates,
    EnrollmentDates,
    Member,
    Observer,
    Record,
    Reference,
    Row,
    SisKind,
    Term,
    dated,
    uuid_of,
)

_GROUP_STATES = {"active": "available", "closed": "completed"}
Columns = frozenset[str]


def _key(*parts: str | None) -> str:
    """The SIS id of what has none: those of what it joins."""
    return orjson.dumps(parts).decode()


def _reference(kind: SisKind, sis_id: str | None) -> Reference | None:
    return None if sis_id is None else Reference(kind, sis_id)


def _account(sis_id: str | None) -> Reference:
    """Without a name it is the root account."""
    return ROOT if sis_id is None else Reference(SisKind.ACCOUNT, sis_id)


def _of_account(row: AccountRow, columns: Columns) -> Iterator[Record]:
    yield Row(
        Kind.ACCOUNT,
        Reference(SisKind.ACCOUNT, row.account_id),
        {
            "name": row.name,
            "workflow_state": row.status,
            "root_account_id": ROOT,
            "parent_account_id": _account(row.parent_account_id),
        },
    )


def _of_term(row: TermRow, columns: Columns) -> Iterator[Record]:
    deleted = row.status == "deleted"
    yield Term(
        Reference(SisKind.TERM, row.term_id), None if deleted else row.start_date, None if deleted else row.end_date
    )


def _of_course(row: CourseRow, columns: Columns) -> Iterator[Record]:
    own = Reference(SisKind.COURSE, row.course_id)
    said: dict[str, Any] = {"name": row.long_name or row.short_name or "", "account_id": _account(row.account_id)}
    initial: dict[str, Any] = {"uuid": uuid_of(own)}
    # To Canvas an active course is any that is neither deleted nor over: whether it is published it says by events.
    if row.status in ("active", "published"):
        (said if row.status == "published" else initial)["workflow_state"] = "available"
    else:
        said["workflow_state"] = row.status
    yield Row(Kind.COURSE, own, said, initial)
    if not columns.isdisjoint(("term_id", "start_date", "end_date")):
        term = _reference(SisKind.TERM, row.term_id)
        yield CourseDates(own, () if term is None else (term,), row.start_date, row.end_date)


def _of_section(row: SectionRow, columns: Columns) -> Iterator[Record]:
    said: dict[str, Any] = {
        "course_id": Reference(SisKind.COURSE, row.course_id),
        "name": row.name or "",
        "workflow_state": row.status,
        "sis_source_id": row.section_id,
    }
    if not columns.isdisjoint(("start_date", "end_date")):
        said |= {"start_at": row.start_date, "end_at": row.end_date}
        said |= dated("section", row.start_date, row.end_date)
    yield Row(Kind.SECTION, Reference(SisKind.SECTION, row.section_id), said, {"default_section": False})


def _of_user(row: UserRow, columns: Columns) -> Iterator[Record]:
    own = Reference(SisKind.USER, row.user_id)
    name = row.full_name or " ".join(filter(None, (row.first_name, row.last_name)))
    said: dict[str, Any] = {
        "name": name,
        "short_name": row.short_name or name,
        "workflow_state": "deleted" if row.status == "deleted" else "registered",
        "user_login": row.login_id,
        "user_sis_id": row.user_id,
    }
    if row.sortable_name or (row.first_name and row.last_name):
        said["sortable_name"] = row.sortable_name or f"{row.last_name}, {row.first_name}"
    if "pronouns" in columns:
        said["pronouns"] = row.pronouns
    yield Row(Kind.USER, own, said, {"uuid": uuid_of(own)})
    if row.status != "deleted":
        yield Member(ROOT, own)


def _of_enrollment(row: EnrollmentRow, columns: Columns) -> Iterator[Record]:
    observed = row.associated_user_id if row.role == "ObserverEnrollment" else None
    place = ("section", row.section_id) if row.section_id else ("course", row.course_id)
    own = Reference(SisKind.ENROLLMENT, _key(*place, row.user_id, row.role, observed))
    said: dict[str, Any] = {
        "user_id": Reference(SisKind.USER, row.user_id),
        "type": row.role,
        "workflow_state": "deleted" if row.status == "deleted_last_completed" else row.status,
        "associated_user_id": _reference(SisKind.USER, observed),
    }
    initial: dict[str, Any] = {"limit_privileges_to_course_section": False}
    if row.course_id is not None:
        said["course_id"] = Reference(SisKind.COURSE, row.course_id)
    if row.section_id is not None:
        said["course_section_id"] = Reference(SisKind.SECTION, row.section_id)
    else:
        initial["course_section_id"] = None
    if row.limit_section_privileges is not None:
        said["limit_privileges_to_course_section"] = row.limit_section_privileges
    yield Row(Kind.ENROLLMENT, own, said, initial)
    if not columns.isdisjoint(("start_date", "end_date")):
        yield EnrollmentDates(own, row.start_date, row.end_date)


def _of_group(row: GroupRow, columns: Columns) -> Iterator[Record]:
    own = Reference(SisKind.GROUP, row.group_id)
    said: dict[str, Any] = {"group_name": row.name, "workflow_state": _GROUP_STATES.get(row.status, row.status)}
    if row.course_id is not None:
        said |= {"context_type": "Course", "context_id": Reference(SisKind.COURSE, row.course_id)}
    else:
        account = _account(row.account_id)
        said |= {"context_type": "Account", "context_id": account, "account_id": account}
    yield Row(Kind.GROUP, own, said, {"uuid": uuid_of(own)})


def _of_group_membership(row: GroupMembershipRow, columns: Columns) -> Iterator[Record]:
    yield Row(
        Kind.GROUP_MEMBERSHIP,
        Reference(SisKind.GROUP_MEMBERSHIP, _key(row.group_id, row.user_id)),
        {
            "group_id": Reference(SisKind.GROUP, row.group_id),
            "user_id": Reference(SisKind.USER, row.user_id),
            "workflow_state": row.status,
        },
    )


def _of_admin(row: AdminRow, columns: Columns) -> Iterator[Record]:
    yield Row(
        Kind.ACCOUNT_USER,
        Reference(SisKind.ACCOUNT_USER, _key(row.account_id, row.user_id, row.role)),
        {
            "account_id": _account(row.account_id),
            "user_id": Reference(SisKind.USER, row.user_id),
            "role": row.role,
            "workflow_state": row.status,
        },
    )


def _of_user_observer(row: UserObserverRow, columns: Columns) -> Iterator[Record]:
    yield Observer(
        Reference(SisKind.USER, row.observer_id), Reference(SisKind.USER, row.student_id), row.status == "active"
    )


RECORDS: Mapping[type, Callable[[Any, Columns], Iterator[Record]]] = MappingProxyType(
    {
        AccountRow: _of_account,
        TermRow: _of_term,
        CourseRow: _of_course,
        SectionRow: _of_section,
        UserRow: _of_user,
        EnrollmentRow: _of_enrollment,
        GroupRow: _of_group,
        GroupMembershipRow: _of_group_membership,
        AdminRow: _of_admin,
        UserObserverRow: _of_user_observer,
    }
)

# Of what a file holds everything, so that it differs where the directory has more.
KINDS: Mapping[type, tuple[str, ...]] = MappingProxyType(
    {
        AccountRow: (Kind.ACCOUNT,),
        TermRow: ("terms",),
        CourseRow: (Kind.COURSE,),
        SectionRow: (Kind.SECTION,),
        UserRow: (Kind.USER,),
        EnrollmentRow: (Kind.ENROLLMENT,),
        GroupRow: (Kind.GROUP,),
        GroupMembershipRow: (Kind.GROUP_MEMBERSHIP,),
        AdminRow: (Kind.ACCOUNT_USER,),
        UserObserverRow: ("observers",),
    }
)
