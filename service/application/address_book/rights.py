"""A user's rights, with the courses, groups and accounts they are asked for."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from service.domain.contexts import Context, ContextType
from service.domain.rights import Course, Group, Right, Roles
from sql.connection import Connection
from sql.rights import CourseRow, GroupRow, rights_of


@dataclass(frozen=True)
class UserRights:
    """A user's roles and the places they were loaded for; what does not exist is not in the mappings."""

    roles: Roles
    courses: Mapping[int, Course]
    sections: Mapping[int, int]  # section id -> course id
    groups: Mapping[int, Group]
    accounts: Mapping[int, tuple[int, ...]]  # account id -> itself and those above, nearest first

    def course_of(self, group: Group) -> Course | None:
        """The course a group belongs to."""
        return None if group.course_id is None else self.courses.get(group.course_id)

    def course_at(self, context: Context) -> Course | None:
        """The course that a context is or is a part of; None without one, and where it is not known."""
        match context.type:
            case ContextType.COURSE:
                return self.courses.get(context.id)
            case ContextType.SECTION:
                return self.courses.get(self.sections.get(context.id, 0))
            case ContextType.GROUP:
                group = self.groups.get(context.id)
                return None if group is None else self.course_of(group)
            case _:
                return None

    def own_groups(self) -> list[Group]:
        """Groups the user belongs to."""
        return [group for id_, group in self.groups.items() if id_ in self.roles.group_ids]

    def may(self, right: Right, context: Context) -> bool:
        """Whether the user holds a right in a context; a section is its course, an unknown context grants none."""
        match context.type:
            case ContextType.ACCOUNT:
                return self.roles.may_in_account(right, self.accounts.get(context.id, (context.id,)))
            case ContextType.GROUP:
                group = self.groups.get(context.id)
                return group is not None and self.roles.may_in_group(right, group, self.course_of(group))
            case _:
                course = self.course_at(context)
                return course is not None and self.roles.may(right, course)

    def root_accounts(self, context: Context | None) -> tuple[int, ...]:
        """The account at the top above a context; empty without one, and where it is not known."""
        if context is None:
            return ()
        match context.type:
            case ContextType.ACCOUNT:
                above: tuple[int, ...] = self.accounts.get(context.id, (context.id,))
            case ContextType.GROUP:
                group = self.groups[context.id]
                course = self.course_of(group)
                above = group.accounts if course is None else course.accounts
            case ContextType.SECTION:
                above = self.courses[self.sections[context.id]].accounts
            case ContextType.COURSE:
                above = self.courses[context.id].accounts
        return above[-1:]

    def administers_fully(self, account: Context) -> bool:
        """Whether the user has the role of an AccountAdmin on an account, which holds every right there is."""
        return self.roles.administers_fully(self.accounts.get(account.id, (account.id,)))


def _of(type_: ContextType, contexts: Iterable[Context]) -> set[int]:
    return {context.id for context in contexts if context.type is type_}


async def load(
    conn: Connection, user_id: int, contexts: Collection[Context] = (), *, everywhere: bool = False
) -> UserRights:
    """The user's rights in the given contexts; ``everywhere``: also in all own courses and groups.

    One statement, whatever the number of contexts.
    """
    held = await rights_of(
        conn,
        user_id,
        course_ids=sorted(_of(ContextType.COURSE, contexts)),
        section_ids=sorted(_of(ContextType.SECTION, contexts)),
        group_ids=sorted(_of(ContextType.GROUP, contexts)),
        account_ids=sorted(_of(ContextType.ACCOUNT, contexts)),
        everywhere=everywhere,
    )
    return UserRights(
        Roles(user_id, held.enrollments, held.admin_records, held.group_ids, held.overrides),
        {course.id: _course(course, held.chains) for course in held.courses if course.workflow_state != "deleted"},
        held.sections,
        {group.id: _group(group, held.chains) for group in held.groups.values()},
        held.chains,
    )


def _course(row: CourseRow, chains: Mapping[int, tuple[int, ...]]) -> Course:
    return Course(
        row.id,
        row.name,
        row.workflow_state,
        chains.get(row.account_id or 0, ()),
        row.ended,
        row.ended_long_ago,
    )


def _group(row: GroupRow, chains: Mapping[int, tuple[int, ...]]) -> Group:
    return Group(row.id, row.course_id, chains.get(row.account_id or 0, ()), row.differentiation_tag)
