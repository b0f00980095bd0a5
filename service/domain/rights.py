"""What a user may do where: roles, their defaults and role overrides.

Sources: canvas/endpoints.md 5.3, canvas/conventions.md 12, CONTRACT 5, 6.7 and 6.14.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from service.domain.contexts import Context, ContextType
from service.domain.recipients import DESIGNER, INSTRUCTORS, OBSERVER, STAFF, STUDENT, TA, TEACHER

ACCOUNT_ADMIN = "AccountAdmin"
CURRENT = frozenset({"active", "invited"})


class Right(StrEnum):
    """Canvas's names of the rights this service asks for; role overrides use the same names."""

    SEND_MESSAGES = "send_messages"
    SEND_MESSAGES_ALL = "send_messages_all"
    READ_ROSTER = "read_roster"
    READ_AS_ADMIN = "read_as_admin"
    MANAGE_STUDENTS = "manage_students"
    MANAGE_TAGS = "manage_tags"
    BECOME_USER = "become_user"


WRITING = frozenset({Right.SEND_MESSAGES, Right.SEND_MESSAGES_ALL})

# Enrolment types that hold a right unless an override says otherwise. Account roles are not in the table:
# AccountAdmin holds everything, a custom role nothing.
_DEFAULTS: Mapping[Right, frozenset[str]] = {
    Right.SEND_MESSAGES: STAFF | {STUDENT},
    Right.SEND_MESSAGES_ALL: STAFF,
    Right.READ_ROSTER: STAFF | {STUDENT},
    Right.READ_AS_ADMIN: STAFF,
    Right.MANAGE_STUDENTS: INSTRUCTORS,
    Right.MANAGE_TAGS: STAFF,
    Right.BECOME_USER: frozenset(),
}
# Whose enrolment is over may still look.
_KEPT_AFTERWARDS = frozenset({Right.READ_AS_ADMIN, Right.READ_ROSTER})
_RANKING = (TEACHER, TA, DESIGNER, STUDENT, OBSERVER)


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One enrolment of the user in question; standing is active, invited or completed."""

    course_id: int
    section_id: int | None
    type: str
    standing: str
    section_limited: bool = False
    associated_user_id: int | None = None
    by_hand: bool = False  # completed by itself, not with its course or by dates

    @property
    def current(self) -> bool:
        """Whether it counts as going on."""
        return self.standing in CURRENT


@dataclass(frozen=True, slots=True)
class Course:
    """A course as rights see it; accounts from its own to the root, nearest first."""

    id: int
    name: str
    workflow_state: str
    accounts: tuple[int, ...] = ()
    ended: bool = False  # its dates are over and bind its enrolments ("soft-concluded")
    ended_long_ago: bool = False  # over for more than a month

    @property
    def completed(self) -> bool:
        """Concluded by hand, for everybody."""
        return self.workflow_state == "completed"

    @property
    def unpublished(self) -> bool:
        """Not offered yet (CONTRACT 6.3)."""
        return self.workflow_state in ("created", "claimed")


@dataclass(frozen=True, slots=True)
class Group:
    """A group; course_id null: of an account, and accounts from that one to the root."""

    id: int
    course_id: int | None
    accounts: tuple[int, ...] = ()
    differentiation_tag: bool = False


@dataclass(frozen=True, slots=True)
class AdminRecord:
    """An administrator's record on an account; site_admin: its role holds everywhere."""

    account_id: int
    role: str
    site_admin: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """Where a role's right is switched on or off: a course or an account, and what is below it."""

    context: Context
    role: str
    right: str


@dataclass(frozen=True)
class Roles:
    """All that decides about one user's rights in the courses, groups and accounts at hand."""

    user_id: int
    enrollments: Sequence[Enrollment] = ()
    admin_records: Sequence[AdminRecord] = ()
    group_ids: frozenset[int] = frozenset()  # accepted memberships
    overrides: Mapping[Override, bool] = field(default_factory=dict)

    def enrolled(self, course_id: int) -> list[Enrollment]:
        """The user's enrolments in a course, concluded ones included."""
        return [e for e in self.enrollments if e.course_id == course_id]

    def best_role(self, course_id: int) -> str | None:
        """The highest enrolment type in a course."""
        held = {e.type for e in self.enrolled(course_id)}
        return next((type_ for type_ in _RANKING if type_ in held), None)

    def concluded(self, course: Course) -> bool:
        """Whether a course is over for the user, by its state or its dates (CONTRACT 6.15).

        The dates are those of the user's own enrolments; without any, the course's.
        """
        enrolled = self.enrolled(course.id)
        if course.completed or not enrolled:
            return course.completed or course.ended
        return not any(e.current for e in enrolled) and not all(e.by_hand for e in enrolled)

    def may(self, right: Right, course: Course) -> bool:
        """Whether the user holds a right in a course, by an enrolment or as an administrator."""
        if course.workflow_state == "deleted":
            return False
        return self.administers(right, course) or any(
            self._grants(enrollment, right, course) for enrollment in self.enrolled(course.id)
        )

    def administers(self, right: Right, course: Course) -> bool:
        """Whether the user holds a right in a course as an administrator of an account above it."""
        return self._admin_of(right, [Context(ContextType.COURSE, course.id)], course.accounts)

    def may_in_account(self, right: Right, accounts: Sequence[int]) -> bool:
        """The same for an account, given as itself and all above it."""
        return self._admin_of(right, [], accounts)

    def may_in_group(self, right: Right, group: Group, course: Course | None) -> bool:
        """The same for a group: the rights of its course, or those that members of an account's group have."""
        if group.course_id is not None:
            return course is not None and self.may(right, course)
        member = group.id in self.group_ids and right in WRITING | {Right.READ_ROSTER}
        return member or self.may_in_account(right, group.accounts)

    def site_wide(self, right: Right) -> bool:
        """Whether the user holds a right on the site-admin account itself."""
        return any(
            self._record_grants(record, right, [Context(ContextType.ACCOUNT, record.account_id)])
            for record in self.admin_records
            if record.site_admin
        )

    def _grants(self, enrollment: Enrollment, right: Right, course: Course) -> bool:
        if not enrollment.current:
            # A teacher of a concluded course may still write to its people, only not with the course as context.
            still_writes = course.completed and enrollment.type in STAFF and right in WRITING
            if right not in _KEPT_AFTERWARDS and not still_writes:
                return False
        where = [Context(ContextType.COURSE, course.id), *_accounts(course.accounts)]
        overridden = self._nearest(enrollment.type, right, where)
        return enrollment.type in _DEFAULTS[right] if overridden is None else overridden

    def _admin_of(self, right: Right, below: Sequence[Context], accounts: Sequence[int]) -> bool:
        for record in self.admin_records:
            if record.site_admin and record.account_id not in accounts:
                where = [*below, *_accounts(accounts), *_accounts([record.account_id])]
            elif record.account_id in accounts:
                where = [*below, *_accounts(accounts)]
            else:
                continue
            if self._record_grants(record, right, where):
                return True
        return False

    def holds(self, record: AdminRecord, right: Right, accounts: Sequence[int]) -> bool:
        """Whether one administrator record has a right on its own account, given with all above it."""
        return self._record_grants(record, right, [*_accounts(accounts)])

    def _record_grants(self, record: AdminRecord, right: Right, where: Sequence[Context]) -> bool:
        return record.role == ACCOUNT_ADMIN or bool(self._nearest(record.role, right, where))

    def _nearest(self, role: str, right: Right, where: Sequence[Context]) -> bool | None:
        found = (self.overrides.get(Override(context, role, right)) for context in where)
        return next((enabled for enabled in found if enabled is not None), None)


def _accounts(ids: Sequence[int]) -> Iterator[Context]:
    return (Context(ContextType.ACCOUNT, id_) for id_ in ids)
