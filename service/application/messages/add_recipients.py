"""POST /conversations/:id/add_recipients: newcomers with the adder's history, announced to all (endpoints.md 4.8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.application.address_book.recipient_checks import check_not_concluded, check_room, check_tags
from service.application.address_book.recipients import resolve, sender_rights
from service.application.address_book.request_tags import request_tags
from service.application.messages.reply_tags import file_message
from service.application.messages.work import Work
from service.domain.errors import Code, Refusal, invalid
from service.domain.recipients import parse
from service.runtime.settings import Settings
from sql import replies
from sql.connection import Connection
from sql.replies import LockedThread, Receivers, Thread
from sql.tags import retag_conversations, retag_participants


@dataclass(frozen=True, slots=True)
class AddRecipients:
    """The request, parsed."""

    adder_id: int
    conversation_id: int
    recipients: Sequence[str]
    context_code: str | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be carried out: those it names, in the conversation or not, and its tags."""

    recipients: Sequence[int]
    tags: tuple[str, ...]


async def validate(work: Work, conn: Connection, request: AddRecipients) -> Checked:
    """Raises the first Refusal: of recipients and context as create does; nobody to add; too many; a private one."""
    thread = await replies.find_thread(conn, request.adder_id, request.conversation_id)
    if thread is None:
        raise Refusal(Code.NOT_FOUND)
    named = parse(request.recipients)
    known = await sender_rights(conn, request.adder_id, named, request.context_code)
    recipients = await resolve(conn, known, named, request.context_code)
    check_tags(known, named, group_conversation=True, bulk_message=False)
    check_not_concluded(known, request.context_code)
    if not recipients:
        raise Refusal(Code.NO_RECIPIENTS)
    _check(work.settings, thread, recipients)
    tags = await request_tags(conn, tags=request.tags, recipients=request.recipients, context_code=request.context_code)
    return Checked(recipients, tags)


def _check(settings: Settings, thread: Thread, recipients: Sequence[int]) -> None:
    _check_room(settings, thread.participants, recipients)
    if thread.private:
        raise invalid("recipients", "nobody can be added to a private conversation")


def _check_room(settings: Settings, participants: Sequence[int], recipients: Sequence[int]) -> None:
    size = settings.max_group_conversation_size
    check_room(participants, recipients, size, "too many participants for group conversation")


async def carry_out(work: Work, conn: Connection, request: AddRecipients, plan: Checked) -> None:
    """Within the caller's transaction; nothing happens when everybody is in.

    Raises what postgres.CONFLICT lists after a conflict with a send: roll back, run again.
    """
    thread = await replies.lock_thread(conn, request.conversation_id)
    moment = await replies.next_moment(conn, request.conversation_id)
    _check_room(work.settings, [*thread.participants, *moment.joining], plan.recipients)
    newcomers = [user for user in plan.recipients if user not in thread.participants]
    if newcomers:
        filed = await _file(work, conn, thread, plan, newcomers)
        tag_sets = dict(zip(filed.users, filed.tag_sets, strict=True))
        history = [(user, tag_sets[user]) for user in newcomers]
        await replies.join_with_history(conn, request.conversation_id, request.adder_id, history)
        await _retag(conn, request.conversation_id, thread, tag_sets, filed.conversation_tag_set)
        await _announce(work, conn, request, newcomers, moment.at)


async def _file(
    work: Work, conn: Connection, thread: LockedThread, plan: Checked, newcomers: Sequence[int]
) -> Receivers:
    """The generated message files everybody's row anew, old participants' too (semantics.md 4.3)."""
    everybody = thread._replace(participants=thread.participants | dict.fromkeys(newcomers, 0))
    return await file_message(
        conn,
        work.tag_sets,
        everybody,
        request_tags=plan.tags,
        receivers=everybody.participants,
        private=False,
    )


async def _retag(
    conn: Connection, conversation_id: int, thread: LockedThread, tag_sets: Mapping[int, int], tag_set: int
) -> None:
    """``tag_sets``: of the participants' rows from now on; ``tag_set``: of the conversation."""
    changed = [
        (conversation_id, user, tag_sets[user])
        for user, before in thread.participants.items()
        if tag_sets[user] != before
    ]
    if changed:
        await retag_participants(conn, changed)
    if tag_set != thread.tag_set:
        await retag_conversations(conn, [(conversation_id, tag_set)])


async def _announce(
    work: Work, conn: Connection, request: AddRecipients, newcomers: Sequence[int], at: datetime
) -> None:
    await replies.announce_arrival(
        conn,
        conversation_id=request.conversation_id,
        message_id=await work.ids.take(conn, 1),
        adder_id=request.adder_id,
        at=at,
        root_account_id=work.settings.root_account_id,
        newcomers=newcomers,
        cause=work.cause,
    )
