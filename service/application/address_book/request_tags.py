"""Request tags: the course and group codes that a request is filed under."""

from collections.abc import Sequence

from service.domain.contexts import Context, ContextType
from service.domain.recipients import tagged_context
from sql import rights
from sql.connection import Connection


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
    course_of = await rights.sections_by_id(conn, section_ids) if section_ids else {}
    groups = await rights.groups_by_id(conn, group_ids) if group_ids else {}
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
