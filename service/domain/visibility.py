"""Which enrolments of a course a sender may message (canvas/endpoints.md 5.1 and 5.2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.domain.recipients import INSTRUCTORS, STAFF, STUDENT
from service.domain.rights import Course, Enrollment, Group, Right, Roles

Types = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Range:
    """Enrolments of one course: those that meet all of these. Set-based statements take a list of ranges."""

    course_id: int
    section_id: int | None = None  # None: any section
    user_id: int | None = None  # None: any user
    types: Types = None  # None: any
    all_observers: bool = True  # False: of observers only those who observe the sender
    concluded: bool = False  # concluded enrolments count as well

    def row(self) -> dict[str, Any]:
        """The range as a JSON record for the statements."""
        return {
            "course_id": self.course_id,
            "section_id": self.section_id,
            "user_id": self.user_id,
            "types": None if self.types is None else sorted(self.types),
            "all_observers": self.all_observers,
            "concluded": self.concluded,
        }


@dataclass(frozen=True, slots=True)
class Members:
    """Accepted members of one group; of a course's group those who still take part in the course."""

    group_id: int
    course_id: int | None = None
    sections: frozenset[int] | None = None  # None: whatever their section
    staff_only: bool = False
    concluded: bool = False

    def row(self) -> dict[str, Any]:
        """The group as a JSON record for the statements."""
        return {
            "group_id": self.group_id,
            "course_id": self.course_id,
            "sections": None if self.sections is None else sorted(self.sections),
            "staff_only": self.staff_only,
            "concluded": self.concluded,
        }


def ranges(
    roles: Roles,
    course: Course,
    *,
    types: Types = None,
    section_id: int | None = None,
    as_admin: bool = False,
) -> list[Range]:
    """What the sender sees of a course, narrowed to enrolment types and a section.

    ``as_admin``: a user with read_as_admin who is not enrolled sees everything; else who is not enrolled sees nothing.
    """
    administers = roles.may(Right.READ_AS_ADMIN, course)
    types = _messageable(course, types)
    if course.workflow_state == "deleted" or (course.completed and not administers) or types == frozenset():
        return []
    concluded = course.completed
    if not roles.enrolled(course.id):
        everything = [Range(course.id, section_id, types=types, concluded=concluded)]
        return everything if as_admin and administers else []
    all_observers = roles.best_role(course.id) != STUDENT
    if not roles.may(Right.SEND_MESSAGES, course):
        return _restricted(roles, course, types, section_id, concluded)
    return [
        Range(course.id, section, types=types, all_observers=all_observers, concluded=concluded)
        for section in _sections(roles, course, section_id)
    ]


def sees_fully(roles: Roles, course: Course) -> bool:
    """The level "full": enrolled, with send_messages, not limited to sections."""
    return bool(roles.enrolled(course.id)) and roles.may(Right.SEND_MESSAGES, course) and not _limited(roles, course)


def members(roles: Roles, group: Group, course: Course | None, *, as_admin: bool = False) -> Members | None:
    """The members of a group whom the sender may message through it; None when the group is closed to them.

    ``as_admin``: read_as_admin in the group's course without an enrolment is as good as membership.
    """
    if group.course_id is None:
        return Members(group.id) if group.id in roles.group_ids else None
    if course is None or course.workflow_state == "deleted":
        return None
    administers = roles.may(Right.READ_AS_ADMIN, course)
    everybody = Members(group.id, course.id, None, course.unpublished, course.completed and administers)
    if group.differentiation_tag:
        return _tagged(roles, everybody, course)
    outside_admin = as_admin and administers and not roles.enrolled(course.id)
    reached = group.id in roles.group_ids or outside_admin or (sees_fully(roles, course) and not course.ended_long_ago)
    return everybody if reached and roles.may(Right.SEND_MESSAGES, course) else None


def _tagged(roles: Roles, everybody: Members, course: Course) -> Members | None:
    """Members of a differentiation tag, for users who may manage tags (CONTRACT 6.7)."""
    if not roles.may(Right.MANAGE_TAGS, course):
        return None
    if _limited(roles, course):
        return replace(everybody, sections=frozenset(_own_sections(roles, course)))
    return everybody


def own_group(roles: Roles, group: Group, course: Course | None) -> Members | None:
    """The fellow members of one of the sender's own groups, each of whom may be messaged as an individual."""
    if group.id not in roles.group_ids or group.differentiation_tag:
        return None
    if group.course_id is None:
        return Members(group.id)
    if course is None:
        return None
    concluded = course.completed and roles.may(Right.READ_AS_ADMIN, course)
    return Members(group.id, course.id, None, course.unpublished, concluded)


def observed(roles: Roles, course_id: int) -> set[int]:
    """Students the sender observes in a course."""
    return {e.associated_user_id for e in roles.enrolled(course_id) if e.associated_user_id is not None}


def _messageable(course: Course, types: Types) -> Types:
    if not course.unpublished:
        return types
    return STAFF if types is None else STAFF & types


def _restricted(roles: Roles, course: Course, types: Types, section_id: int | None, concluded: bool) -> list[Range]:
    if section_id is not None and section_id not in _own_sections(roles, course):
        return []
    instructors = INSTRUCTORS if types is None else INSTRUCTORS & types
    people = [
        Range(course.id, section_id, user_id=user_id, types=types, concluded=concluded)
        for user_id in sorted(observed(roles, course.id))
    ]
    if not instructors:
        return people
    return [Range(course.id, section_id, types=instructors, concluded=concluded), *people]


def _counting(roles: Roles, course: Course) -> list[Enrollment]:
    """The sender's enrolments that say how far they see: current ones, if there is none, concluded ones."""
    enrollments = roles.enrolled(course.id)
    return [e for e in enrollments if e.current] or enrollments


def _limited(roles: Roles, course: Course) -> bool:
    counting = _counting(roles, course)
    limited = bool(counting) and all(e.section_limited for e in counting)
    return limited and not roles.administers(Right.SEND_MESSAGES, course)


def _own_sections(roles: Roles, course: Course) -> list[int]:
    return sorted({e.section_id for e in _counting(roles, course) if e.section_id is not None})


def _sections(roles: Roles, course: Course, section_id: int | None) -> Sequence[int | None]:
    """The sections to read: [None] means the whole course."""
    if not _limited(roles, course):
        return [section_id]
    own = _own_sections(roles, course)
    return own if section_id is None else [s for s in own if s == section_id]


def rows(items: Iterable[Range | Members]) -> list[dict[str, Any]]:
    """JSON records of ranges or of groups."""
    return [item.row() for item in items]
