"""The files of OneRoster 1.1 and 1.2 (CSV binding): one model for the rows of each.

Names of columns are compared in lower case. A blank status is active: files of the bulk mode leave it out.
"""

from typing import Annotated, Literal

from service.contracts.directory_bodies import Label, Text, Time
from service.contracts.snapshot_rows import AnyCase, FileForm, SisId, SisIds, SnapshotRow

_Status = Annotated[Literal["active", "inactive", "tobedeleted"], AnyCase]
_Role = Annotated[Label, AnyCase]


class _OfOneRoster(SnapshotRow):
    sourcedid: SisId
    status: _Status = "active"

    @property
    def deleted(self) -> bool:
        """Version 1.0 had ``inactive`` too; the two that are read here say ``tobedeleted``."""
        return self.status != "active"


class OrgRow(_OfOneRoster):
    """orgs.csv"""

    name: Text
    parentsourcedid: SisId | None = None


class AcademicSessionRow(_OfOneRoster):
    """academicSessions.csv; the last day is the first on which it is over."""

    startdate: Time | None = None
    enddate: Time | None = None


class CourseRow(_OfOneRoster):
    """courses.csv: of which the classes are. Nothing of it is kept."""


class ClassRow(_OfOneRoster):
    """classes.csv"""

    title: Text
    schoolsourcedid: SisId | None = None
    termsourcedids: SisIds = ()


class UserRow(_OfOneRoster):
    """users.csv; 1.2 has roles in a file of their own."""

    orgsourcedids: SisIds = ()
    primaryorgsourcedid: SisId | None = None
    role: _Role | None = None
    username: Label | None = None
    givenname: Text | None = None
    familyname: Text | None = None
    preferredgivenname: Text | None = None
    preferredfamilyname: Text | None = None
    pronouns: Text | None = None
    agentsourcedids: SisIds = ()


class RoleRow(_OfOneRoster):
    """roles.csv"""

    usersourcedid: SisId
    role: _Role
    orgsourcedid: SisId | None = None


class EnrollmentRow(_OfOneRoster):
    """enrollments.csv"""

    classsourcedid: SisId
    schoolsourcedid: SisId | None = None
    usersourcedid: SisId
    role: Annotated[
        Literal["student", "teacher", "aide", "guardian", "parent", "relative", "administrator", "proctor"], AnyCase
    ]
    begindate: Time | None = None
    enddate: Time | None = None


class ManifestRow(SnapshotRow):
    """manifest.csv: whether a file holds everything (``bulk``) or only what has changed (``delta``)."""

    propertyname: Label
    value: Label = ""


def _form(name: str, model: type[SnapshotRow], *columns: str) -> FileForm:
    return FileForm(name, frozenset(columns), model)


MANIFEST = _form("manifest", ManifestRow, "propertyname", "value")
FILES = (
    MANIFEST,
    _form("enrollments", EnrollmentRow, "sourcedid", "classsourcedid", "usersourcedid", "role"),
    _form("roles", RoleRow, "sourcedid", "usersourcedid", "role", "roletype"),
    _form("classes", ClassRow, "sourcedid", "title", "coursesourcedid", "schoolsourcedid"),
    _form("users", UserRow, "sourcedid", "givenname", "familyname"),
    _form("academicSessions", AcademicSessionRow, "sourcedid", "title", "startdate", "enddate"),
    _form("courses", CourseRow, "sourcedid", "title", "coursecode", "orgsourcedid"),
    _form("orgs", OrgRow, "sourcedid", "name", "type"),
)
