"""The files of Canvas's SIS import (CSV): one model for the rows of each.

The order of FILES is that in which they are told apart, which is by their header lines.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from service.contracts.directory_bodies import Label, Text, Time
from service.contracts.snapshot_rows import AnyCase, FileForm, SisId, SnapshotRow, lacks

_Status = Annotated[Literal["active", "deleted"], AnyCase]
_BASE_ROLES = {
    "student": "StudentEnrollment",
    "teacher": "TeacherEnrollment",
    "ta": "TaEnrollment",
    "observer": "ObserverEnrollment",
    "designer": "DesignerEnrollment",
}


def _enrollment_type(value: object) -> str:
    """The type behind a role's name, or behind the type's own."""
    role = str(value).lower().removesuffix("enrollment")
    if role not in _BASE_ROLES:
        raise ValueError(f"is none of {', '.join(_BASE_ROLES)}")
    return _BASE_ROLES[role]


class AccountRow(SnapshotRow):
    """accounts.csv"""

    account_id: SisId
    parent_account_id: SisId | None = None
    name: Text
    status: _Status


class TermRow(SnapshotRow):
    """terms.csv"""

    term_id: SisId
    status: _Status
    start_date: Time | None = None
    end_date: Time | None = None


class CourseRow(SnapshotRow):
    """courses.csv"""

    course_id: SisId
    short_name: Text | None = None
    long_name: Text | None = None
    account_id: SisId | None = None
    term_id: SisId | None = None
    status: Annotated[Literal["active", "published", "completed", "deleted"], AnyCase]
    start_date: Time | None = None
    end_date: Time | None = None


class SectionRow(SnapshotRow):
    """sections.csv"""

    section_id: SisId
    course_id: SisId
    name: Text | None = None
    status: _Status
    start_date: Time | None = None
    end_date: Time | None = None


class UserRow(SnapshotRow):
    """users.csv"""

    user_id: SisId
    login_id: Label | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    full_name: Text | None = None
    sortable_name: Text | None = None
    short_name: Text | None = None
    pronouns: Text | None = None
    status: Annotated[Literal["active", "suspended", "deleted"], AnyCase]


class EnrollmentRow(SnapshotRow):
    """enrollments.csv"""

    course_id: SisId | None = None
    section_id: SisId | None = None
    user_id: SisId
    role: Annotated[str, BeforeValidator(_enrollment_type)]
    status: Annotated[Literal["active", "inactive", "completed", "deleted", "deleted_last_completed"], AnyCase]
    associated_user_id: SisId | None = None
    limit_section_privileges: bool | None = None
    start_date: Time | None = None
    end_date: Time | None = None

    @model_validator(mode="after")
    def _a_place(self) -> "EnrollmentRow":
        if self.course_id is None and self.section_id is None:
            raise lacks("course_id or section_id")
        return self


class GroupRow(SnapshotRow):
    """groups.csv"""

    group_id: SisId
    account_id: SisId | None = None
    course_id: SisId | None = None
    name: Text
    status: Annotated[Literal["available", "active", "closed", "completed", "deleted"], AnyCase]


class GroupMembershipRow(SnapshotRow):
    """group_membership.csv, also called groups_membership.csv"""

    group_id: SisId
    user_id: SisId
    status: Annotated[Literal["accepted", "deleted"], AnyCase]


class AdminRow(SnapshotRow):
    """admins.csv"""

    user_id: SisId
    account_id: SisId | None = None
    role: Label = Field(min_length=1)
    status: _Status


class UserObserverRow(SnapshotRow):
    """user_observers.csv"""

    observer_id: SisId
    student_id: SisId
    status: _Status

    @model_validator(mode="after")
    def _two_users(self) -> "UserObserverRow":
        if self.observer_id == self.student_id:
            raise lacks("a second user, whom the first observes,")
        return self


def _form(name: str, model: type[SnapshotRow], *columns: str) -> FileForm:
    return FileForm(name, frozenset(columns), model)


FILES = (
    # Files of Canvas that say nothing Clarion keeps, and have all columns of one that does.
    _form("logins", SnapshotRow, "user_id", "login_id", "existing_user_id"),
    _form("logins", SnapshotRow, "user_id", "login_id", "existing_canvas_user_id"),
    _form("logins", SnapshotRow, "user_id", "login_id", "existing_integration_id"),
    _form("accounts", AccountRow, "account_id", "parent_account_id"),
    _form("courses", CourseRow, "course_id", "short_name"),
    _form("courses", CourseRow, "course_id", "long_name"),
    _form("sections", SectionRow, "section_id", "name"),
    _form("terms", TermRow, "term_id", "name"),
    _form("user_observers", UserObserverRow, "observer_id", "student_id"),
    _form("group_membership", GroupMembershipRow, "group_id", "user_id"),
    _form("groups", GroupRow, "group_id", "name"),
    _form("users", UserRow, "user_id", "login_id"),
    _form("enrollments", EnrollmentRow, "section_id", "user_id"),
    _form("enrollments", EnrollmentRow, "course_id", "user_id"),
    _form("admins", AdminRow, "user_id", "account_id"),
)
