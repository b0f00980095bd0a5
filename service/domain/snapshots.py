"""What a snapshot of a student information system says, whatever its format (CONTRACT 5.1).

Things are named by their SIS ids. Which row of the directory one is, is for the database to say; from then on a
snapshot is changes like those of events, all as of one moment.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from service.domain.directory_shapes import Kind

# Ids of what a snapshot has brought begin here: sql/migrations/016_sis_ids.sql says why.
FIRST_ID = 9 * 10**12


class SisKind(StrEnum):
    """Kinds of SIS ids: each has names of its own."""

    ROOT = "root"  # the root account, which has no SIS id
    ACCOUNT = "account"
    TERM = "term"
    USER = "user"
    SECTION = "section"
    COURSE = "course"
    GROUP = "group"
    ENROLLMENT = "enrollment"
    GROUP_MEMBERSHIP = "group_membership"
    ACCOUNT_USER = "account_user"


class Reference(NamedTuple):
    """A thing by its SIS id."""

    kind: SisKind
    sis_id: str


ROOT = Reference(SisKind.ROOT, "")


class Row(NamedTuple):
    """One row of the directory; ``values`` by the keys of its shape. A Reference among them becomes an id.

    ``initial``: said as well where the row came by a snapshot and not by events, whose business it is elsewhere.
    """

    kind: Kind
    own: Reference
    values: Mapping[str, Any]
    initial: Mapping[str, Any] = MappingProxyType({})


class Member(NamedTuple):
    """A user belongs to an account."""

    account: Reference
    user: Reference


class Term(NamedTuple):
    """A term; a deleted one has no dates."""

    own: Reference
    start_at: datetime | None
    end_at: datetime | None


class CourseDates(NamedTuple):
    """A course's terms and own dates: those that it lacks are its terms'."""

    course: Reference
    terms: tuple[Reference, ...]
    start_at: datetime | None
    end_at: datetime | None


class EnrollmentDates(NamedTuple):
    """An enrolment's own dates, which go before those of its section and course."""

    enrollment: Reference
    start_at: datetime | None
    end_at: datetime | None

    def state(self, now: datetime) -> str | None:
        """What an enrollment_state event would say at that moment; None where there are no dates."""
        if self.start_at is None and self.end_at is None:
            return None
        if self.end_at is not None and self.end_at <= now:
            return "completed"
        return "pending_active" if self.start_at is not None and self.start_at > now else "active"


class Observer(NamedTuple):
    """One user observes another in all courses of the latter, or does not any more."""

    observer: Reference
    student: Reference
    active: bool


class Agents(NamedTuple):
    """The users whom a user's row lists as related to them; which of two observes follows from Guardian."""

    user: Reference
    agents: tuple[Reference, ...]


class Guardian(NamedTuple):
    """Whether a user is a guardian or parent: observes those who list them, or whom they list."""

    user: Reference
    active: bool


Record = Row | Member | Term | CourseDates | EnrollmentDates | Observer | Agents | Guardian


def references(record: Record) -> Iterable[Reference]:
    """All that a record names."""
    parts = (record.own, *record.values.values()) if isinstance(record, Row) else record
    found = [part for part in parts if isinstance(part, Reference)]
    if isinstance(record, CourseDates):
        found += record.terms
    elif isinstance(record, Agents):
        found += record.agents
    return found


def uuid_of(own: Reference) -> str:
    """The uuid of what a snapshot has brought: the same whenever it is asked for."""
    return str(uuid5(NAMESPACE_URL, f"clarion:{own.kind}:{own.sis_id}"))


def dated(prefix: str, start_at: datetime | None, end_at: datetime | None) -> dict[str, Any]:
    """The flag of that name: dates that are there count."""
    return {f"restrict_enrollments_to_{prefix}_dates": start_at is not None or end_at is not None}
