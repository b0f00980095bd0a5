"""POST /conversations/:id/add_message: check, then write it now or put it in the conversation's line."""

from dataclasses import dataclass, replace
from datetime import timedelta

from service.application.address_book.recipient_checks import check_room
from service.application.address_book.request_tags import request_tags
from service.application.messages.append import write
from service.application.messages.draft import compose, store
from service.application.messages.reply_checks import AddMessage, Checked, check_reply
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.domain.errors import Code, Refusal
from service.domain.event_metadata import Cause
from service.runtime.tracing import current_traceparent
from sql import pending_replies, replies, sends
from sql.connection import Connection
from sql.merge import merge_targets
from sql.messages import MessageKey
from sql.pending_replies import Reply, WaitingReply
from sql.replies import LockedThread

# A queued reply is commanded at once; should that be lost, the sweeper comes this much later.
UNCOMMANDED_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Written:
    """The message stands in the conversation."""

    message: MessageKey


@dataclass(frozen=True, slots=True)
class Queued:
    """The message waits for a worker, to be commanded after the commit; so far there is only its send."""

    reply_id: int
    send_id: int


@dataclass(frozen=True, slots=True)
class Validated:
    """A reply that may be carried out."""

    checked: Checked
    tags: tuple[str, ...]
    send: sends.NewSend


async def validate(work: Work, conn: Connection, request: AddMessage) -> Validated:
    """All checks of canvas/endpoints.md 4.9; raises the first Refusal."""
    checked = await check_reply(conn, request, max_group_size=work.settings.max_group_conversation_size)
    tags = await request_tags(
        conn, tags=request.tags, recipients=request.recipients or (), context_code=request.context_code
    )
    roots = [work.settings.root_account_id]
    send = await compose(conn, request, root_account_ids=roots, private=checked.thread.private)
    return Validated(checked, tags, send)


async def carry_out(work: Work, conn: Connection, request: AddMessage, plan: Validated) -> Written | Queued:
    """Carries a validated reply out within the caller's transaction.

    Raises what postgres.CONFLICT lists after a conflict with a send: roll back, run again.
    """
    recipients = plan.checked.recipients
    thread = await replies.lock_thread(conn, request.conversation_id)
    if request.author_id not in thread.participants:
        raise Refusal(Code.NOT_FOUND)
    moment = await replies.next_moment(conn, request.conversation_id)
    if recipients is not None and plan.send.private and not thread.participants.keys() >= set(recipients):
        # Only those in it get it, and a participant may have been merged into another account since the checks.
        targets = await merge_targets(conn, recipients)
        recipients = sorted({targets[user].user_id if user in targets else user for user in recipients})
    if recipients is not None and not plan.send.private:
        joined = {*thread.participants, *moment.joining}
        check_room(joined, recipients, work.settings.max_group_conversation_size)
    reply = Reply(
        conversation_id=request.conversation_id,
        message_id=await work.ids.take(conn, 1),
        message=await store(conn, replace(plan.send, created_at=moment.at)),
        recipients=recipients,
        included_message_ids=plan.checked.included_message_ids,
        tags=plan.tags,
        user_note=request.user_note,
    )
    if moment.waiting or len(thread.participants) >= work.settings.queued_reply_participants:
        reply_id = await pending_replies.queue_reply(conn, reply, UNCOMMANDED_AFTER, current_traceparent())
        return Queued(reply_id, reply.message.send_id)
    await write(conn, work.tag_sets, reply, thread, cause=work.cause)
    return Written(MessageKey(reply.message_id, request.conversation_id, reply.message.send_id))


@dataclass(frozen=True, slots=True)
class Turn:
    """The next reply of a conversation's line, and the conversation, locked."""

    waiting: WaitingReply
    thread: LockedThread


async def next_turn(conn: Connection, conversation_id: int, commanded_id: int) -> Turn | None:
    """Locks the conversation within the caller's transaction; None when no reply's turn has come."""
    thread = await replies.lock_thread(conn, conversation_id)
    waiting = await pending_replies.first_waiting_reply(conn, conversation_id, commanded_id)
    return None if waiting is None else Turn(waiting, thread)


async def late_turn(conn: Connection, conversation_id: int, reply_id: int) -> Turn | None:
    """The same for a reply that was given up and is commanded again: it goes out of turn."""
    thread = await replies.lock_thread(conn, conversation_id)
    waiting = await pending_replies.given_up_reply(conn, reply_id)
    return None if waiting is None else Turn(waiting, thread)


async def deliver_queued(conn: Connection, tag_sets: TagSets, turn: Turn, *, cause: Cause | None) -> None:
    """Writes the reply whose turn it is and takes it out of the line, in the transaction of next_turn."""
    await write(conn, tag_sets, turn.waiting.reply, turn.thread, cause=cause)
    await pending_replies.finish_reply(conn, turn.waiting.id)
