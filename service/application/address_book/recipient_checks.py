"""What is refused once recipients are resolved (canvas/endpoints.md 4.2 validation steps 5 to 7, CONTRACT 6.7)."""

from collections.abc import Collection, Sequence

from service.application.address_book.rights import UserRights
from service.domain.contexts import Context, ContextType, parse_code
from service.domain.errors import invalid
from service.domain.messages import Kind
from service.domain.recipients import OBSERVER, STUDENT, Recipients, sent_context
from service.domain.rights import Course, Right
from service.domain.visibility import observed
from service.runtime.settings import Settings
from sql import address_book
from sql.connection import Connection
from sql.rights import is_root_account


async def check_context(
    conn: Connection,
    known: UserRights,
    *,
    recipients: Sequence[int],
    context_code: str | None,
    root_account_id: int,
) -> Context | None:
    """The context to store, None when none is given; raises the Refusal of steps 5a and 5b.

    ``known``: the sender's, there as well. ``recipients``: the resolved ones. ``root_account_id``: the host's, a root
    account even before there is any event about it.
    """
    if not context_code or not context_code.strip():
        return None
    context = parse_code(context_code)
    if context is None or context.type is ContextType.SECTION:
        raise invalid("context_code", "invalid")
    if context.type is ContextType.ACCOUNT:
        if not await _acceptable_account(conn, known, context.id, root_account_id):
            raise invalid("context_code", "invalid")
        return context
    course = known.courses.get(context.id) if context.type is ContextType.COURSE else None
    if course is not None:
        await _check_reach(conn, known, course, recipients)
    if not _acceptable(known, context):
        raise invalid("context_code", "invalid")
    return context


def check_not_concluded(known: UserRights, context_code: str | None) -> None:
    """Refuses a course that is concluded for the sender, staff or not, and its groups and sections (CONTRACT 6.15)."""
    context = sent_context(context_code)
    course = None if context is None else known.course_at(context)
    if course is not None and known.roles.concluded(course):
        raise invalid("Course concluded", "Unable to send messages")


async def _check_reach(conn: Connection, known: UserRights, course: Course, recipients: Sequence[int]) -> None:
    """Step 5a: without send_messages one writes to instructors and to one's own observed students."""
    if known.roles.may(Right.SEND_MESSAGES, course):
        return
    exempt = sorted(observed(known.roles, course.id))
    if not await address_book.all_instruct(conn, course.id, recipients, exempt):
        raise invalid(f"Unable to send messages to users in {course.name}", "")


def _acceptable(known: UserRights, context: Context) -> bool:
    """Step 5b for courses and groups: a membership or send_messages (canvas/endpoints.md 5.4)."""
    if context.type is ContextType.COURSE:
        member = context.id in known.courses and bool(known.roles.enrolled(context.id))
    else:
        member = context.id in known.groups and context.id in known.roles.group_ids
    return member or known.may(Right.SEND_MESSAGES, context)


async def _acceptable_account(conn: Connection, known: UserRights, account_id: int, root_account_id: int) -> bool:
    """Step 5b for accounts: a root account, with read_roster there or on an account below."""
    is_root = await is_root_account(conn, account_id)
    if not (account_id == root_account_id if is_root is None else is_root):
        return False
    if known.roles.may_in_account(Right.READ_ROSTER, known.accounts.get(account_id, ())):
        return True
    below = [r.account_id for r in known.roles.admin_records if account_id in known.accounts.get(r.account_id, ())]
    return any(known.roles.may_in_account(Right.READ_ROSTER, known.accounts[id_]) for id_ in below)


def check_roles(known: UserRights, named: Recipients) -> None:
    """Step 6: a whole course, its students or its observers take send_messages_all there."""
    restricted = [
        audience.context
        for audience in named.audiences
        if audience.context.type is ContextType.COURSE
        and (audience.types is None or audience.types & {STUDENT, OBSERVER})
    ]
    if not all(known.may(Right.SEND_MESSAGES_ALL, context) for context in restricted):
        raise invalid("recipients", "restricted by role")


def check_tags(known: UserRights, named: Recipients, *, group_conversation: bool, bulk_message: bool) -> None:
    """Differentiation tags as recipients: only with manage_tags, and never in one shared conversation.

    Resolution step 7; a Refusal where Canvas lets an error surface. One of a course that the sender has nothing to do
    with is answered like a group that does not exist.
    """
    tags = [audience.context for audience in named.audiences if _is_tag(known, audience.context)]
    if not all(known.may(Right.MANAGE_TAGS, context) for context in tags):
        raise invalid("recipients", "insufficient permissions to use differentiation tags")
    if tags and group_conversation and not bulk_message:
        raise invalid("recipients", "differentiation tags cannot share a group conversation")


def _is_tag(known: UserRights, context: Context) -> bool:
    group = known.groups.get(context.id) if context.type is ContextType.GROUP else None
    if group is None or not group.differentiation_tag:
        return False
    course = known.course_of(group)
    enrolled = course is not None and bool(known.roles.enrolled(course.id))
    return enrolled or any(known.may(right, context) for right in Right)


def size_limit(settings: Settings, kind: Kind) -> int | None:
    """How many recipients a message of that kind may have; None for a bulk send into separate conversations."""
    limits = {
        Kind.GROUP: settings.max_group_conversation_size,
        Kind.PRIVATE: settings.max_group_conversation_size,
        Kind.BULK_PRIVATE: settings.max_bulk_private_recipients,
    }
    return limits.get(kind)


def check_size(settings: Settings, kind: Kind, recipients: Sequence[int]) -> None:
    """Step 7: a Refusal for more recipients than that."""
    limit = size_limit(settings, kind)
    if limit is not None and len(recipients) > limit:
        raise invalid("recipients", "too many for group conversation")


def check_room(
    participants: Collection[int],
    recipients: Collection[int],
    max_group_size: int,
    message: str = "Too many participants for group conversation",
) -> None:
    """A group may grow to the largest group and its founder; one that is larger already goes on as it is."""
    everybody = {*participants, *recipients}
    if len(everybody) > len(set(participants)) and len(everybody) > max_group_size + 1:
        raise invalid("recipients", message)
