"""Whether a user may still reply in a conversation (canvas/endpoints.md 6)."""

from collections.abc import Sequence
from typing import TypeGuard

from service.application.address_book import rights
from service.application.address_book.rights import UserRights
from service.domain.contexts import Context, ContextType
from service.domain.rights import WRITING, Course, Right
from service.domain.visibility import observed
from sql import address_book
from sql.connection import Connection


def may_lock(context: Context | None) -> TypeGuard[Context]:
    """Conversations without a context or of an account are never locked."""
    return context is not None and context.type in (ContextType.COURSE, ContextType.GROUP)


async def replies_locked(
    conn: Connection,
    *,
    user_id: int,
    context: Context | None,
    participant_ids: Sequence[int],
    explicit_recipients: Sequence[int],
) -> bool:
    """True when the user may not reply in a conversation of this context.

    ``explicit_recipients``: user ids of the request's ``recipients`` parameter (add_message) or the audience (show).
    """
    if not may_lock(context):
        return False
    known = await rights.load(conn, user_id, [context])
    return await is_locked(conn, known, context, participant_ids, explicit_recipients)


async def is_locked(
    conn: Connection,
    known: UserRights,
    context: Context,
    participant_ids: Sequence[int],
    explicit_recipients: Sequence[int],
) -> bool:
    """The same in a context that may lock, for a user whose rights there are known."""
    # A context that is gone, and a group whose course is, grants no right in the end: locked.
    course = known.course_at(context)
    if course is not None:
        if course.completed or not await _takes_part(conn, known, course):
            return True
        staff = sorted(set(explicit_recipients) & set(participant_ids))
        if _observes_all(known, course, set(participant_ids) - {known.roles.user_id}) or (
            staff and await address_book.any_staff(conn, course.id, staff)
        ):
            return False
    return not any(known.may(right, context) for right in WRITING)


async def _takes_part(conn: Connection, known: UserRights, course: Course) -> bool:
    """Step 2: a current enrolment, or a visible section that is not over (CONTRACT 6.4)."""
    enrollments = known.roles.enrolled(course.id)
    if any(enrollment.current for enrollment in enrollments):
        return True
    if known.roles.administers(Right.READ_AS_ADMIN, course):
        return await address_book.any_open_section(conn, course.id, None, course.ended)
    if not enrollments:
        return False
    sections = sorted({e.section_id for e in enrollments if e.section_id is not None})
    return (
        await address_book.any_open_section(conn, course.id, sections, course.ended) if sections else not course.ended
    )


def _observes_all(known: UserRights, course: Course, others: set[int]) -> bool:
    mine = observed(known.roles, course.id)
    return bool(mine) and others <= mine
