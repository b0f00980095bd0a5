"""Whether a reply may be sent: the checks of canvas/endpoints.md 4.9 in their order."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.application.address_book import rights
from service.application.address_book.masquerade import in_reach
from service.application.address_book.recipient_checks import check_not_concluded, check_room, check_tags
from service.application.address_book.recipients import resolve, sender_rights
from service.application.address_book.reply_lock import is_locked, may_lock
from service.application.address_book.rights import UserRights
from service.application.messages.draft import Draft
from service.domain.contexts import ContextType
from service.domain.errors import Code, Refusal, invalid
from service.domain.ids import parse_id
from service.domain.messages import MAX_BODY
from service.domain.recipients import STUDENT, Recipients, parse, sent_context
from service.domain.rights import Right
from sql import replies
from sql.connection import Connection
from sql.replies import Thread


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMessage(Draft):
    """The request, parsed. ``recipients``: None when it names none; ``included_messages`` as sent."""

    conversation_id: int
    recipients: Sequence[str] | None = None
    included_messages: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A reply that may be sent, its recipients resolved."""

    thread: Thread
    recipients: Sequence[int] | None
    included_message_ids: Sequence[int]


async def check_reply(conn: Connection, request: AddMessage, *, max_group_size: int) -> Checked:
    """Raises the Refusal of the first check that fails.

    Of the second one, a concluded course, the first leaves only what context_code names (CONTRACT 6.15): replies in a
    concluded course are locked for everybody.
    """
    thread = await replies.find_thread(conn, request.author_id, request.conversation_id)
    if thread is None or not await in_reach(conn, request.actor, request.conversation_id):
        raise Refusal(Code.NOT_FOUND)
    named = None if request.recipients is None else parse(request.recipients)
    known = await _author_rights(conn, request, thread, named)
    if known is not None:
        await _check_lock(conn, known, thread, named)
        check_not_concluded(known, request.context_code)
    if not request.body.strip():
        raise invalid("empty_message", "Unable to create message without a body")
    recipients = None
    if known is not None and named is not None:
        recipients = await _recipients(conn, known, thread, named, request.context_code)
        if not thread.private:
            check_room(thread.participants, recipients, max_group_size)
        await _check_course(conn, known, thread, recipients)
    included = await _included(conn, request)
    _check_length(request.body)
    return Checked(thread, recipients, included)


async def _author_rights(
    conn: Connection, request: AddMessage, thread: Thread, named: Recipients | None
) -> UserRights | None:
    """Of the author in all contexts that the checks ask about; None when they ask about none."""
    own = [thread.context] if may_lock(thread.context) else []
    if named is not None:
        return await sender_rights(conn, request.author_id, named, request.context_code, also=own)
    asked = sent_context(request.context_code)
    contexts = own if asked is None else [*own, asked]
    return await rights.load(conn, request.author_id, contexts) if contexts else None


async def _check_lock(conn: Connection, known: UserRights, thread: Thread, named: Recipients | None) -> None:
    explicit = sorted(named.user_ids) if named else []
    if may_lock(thread.context) and await is_locked(conn, known, thread.context, thread.participants, explicit):
        raise Refusal(Code.NOT_AUTHORISED)


async def _recipients(
    conn: Connection, known: UserRights, thread: Thread, named: Recipients, context_code: str | None
) -> Sequence[int]:
    check_tags(known, named, group_conversation=not thread.private, bulk_message=False)
    return await resolve(conn, known, named, context_code, conversation_id=thread.conversation_id)


async def _check_course(conn: Connection, known: UserRights, thread: Thread, recipients: Sequence[int]) -> None:
    """Check 5: a user who is only a student in the conversation's course may not write to users who have left it."""
    if thread.context is None or thread.context.type is not ContextType.COURSE:
        return
    course = known.courses.get(thread.context.id)
    if course is None or course.workflow_state != "available":
        return
    only_student = known.roles.best_role(course.id) == STUDENT
    if not only_student or known.roles.administers(Right.READ_AS_ADMIN, course):
        return
    others = [user for user in recipients if user != known.roles.user_id]
    outsiders = await replies.outsiders_of_course(conn, course.id, others)
    if outsiders:
        sentence = f"These recipients have no active enrollment in the course: {', '.join(outsiders)}"
        raise Refusal(Code.REPLY_REFUSED, sentence, attribute="recipients")


async def _included(conn: Connection, request: AddMessage) -> list[int]:
    wanted = list(dict.fromkeys(request.included_messages))
    if not wanted:
        return []
    ids = [id_ for text in wanted if (id_ := parse_id(text)) is not None]
    found = await replies.included_messages(conn, request.author_id, request.conversation_id, ids)
    if len(found) < len(wanted):
        raise invalid("included_messages", "not for this conversation")
    if not all(found.values()):
        raise invalid("included_messages", "not a participant")
    return sorted(found)


def _check_length(body: str) -> None:
    """An unstorable body escapes Canvas's action, and has a form of its own (canvas/conventions.md 9)."""
    if len(body) > MAX_BODY:
        raise Refusal(Code.UNPROCESSABLE, "too long", details={"field": "body", "error_code": "too_long"})
