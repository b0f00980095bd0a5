"""Who is meant by recipients, and whether the sender may write to them: the address book as others use it."""

from collections.abc import Sequence

from service.application.recipient_rules import check_context, check_roles, check_tags
from service.application.reply_lock import replies_locked
from service.application.resolving import resolve
from service.application.standing import has_right, rights_in
from service.domain.contexts import Context, ContextType
from service.domain.recipients import tagged_context
from sql import address_book as reach
from sql import standing as rows
from sql.connection import Connection

__all__ = [
    "check_context",
    "check_roles",
    "check_tags",
    "has_right",
    "instructs",
    "is_fake_student",
    "replies_locked",
    "request_tags",
    "resolve",
    "rights_in",
]


async def request_tags(
    conn: Connection, *, tags: Sequence[str], recipients: Sequence[str], context_code: str | None
) -> tuple[str, ...]:
    """The course and group codes a request is filed under (canvas/semantics.md 4.1), in that order.

    Sections stand for their course; the courses of all groups follow at the end.
    """
    items = [*tags, *(part for text in recipients for part in text.split(",")), context_code or ""]
    named = [context for item in items if (context := tagged_context(item))]
    section_ids = [context.id for context in named if context.type is ContextType.SECTION]
    group_ids = [context.id for context in named if context.type is ContextType.GROUP]
    course_of = await rows.sections_by_id(conn, section_ids) if section_ids else {}
    groups = await rows.groups_by_id(conn, group_ids) if group_ids else {}
    found: dict[str, None] = {}
    for context in named:
        if context.type is not ContextType.SECTION:
            found[context.code] = None
        elif context.id in course_of:
            found[_course(course_of[context.id])] = None
    for id_ in group_ids:
        if id_ in groups and (course_id := groups[id_].course_id) is not None:
            found[_course(course_id)] = None
    return tuple(found)


def _course(course_id: int) -> str:
    return Context(ContextType.COURSE, course_id).code


async def is_fake_student(conn: Connection, user_id: int) -> bool:
    """Whether the user is Canvas's student view: has StudentViewEnrollments and no other (CONTRACT 6.6)."""
    return await reach.is_fake_student(conn, user_id)


async def instructs(conn: Connection, *, author_id: int, recipients: Sequence[int]) -> list[int]:
    """Those recipients who are students in a course where the author is an active teacher or TA; ascending."""
    return await reach.instructed_by(conn, author_id, recipients)
