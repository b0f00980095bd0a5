"""One message into a conversation that exists, written by its request or by the worker of queued replies."""

from dataclasses import dataclass

from service.application.messages.chunk import note_recipients
from service.application.messages.reply_tags import file_message
from service.application.messages.tag_sets import TagSets
from service.domain.event_metadata import Cause
from sql import replies
from sql.connection import Connection
from sql.pending_replies import Reply
from sql.replies import LockedThread


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom a message is.

    ``receivers``: all who will have it, the author among them. ``newcomers``: those of them who join by it.
    ``moved``: whose rows' times follow it; the author's do unless recipients are named and the author is not.
    """

    receivers: frozenset[int]
    newcomers: frozenset[int]
    moved: frozenset[int]


def audience(reply: Reply, participants: frozenset[int]) -> Audience:
    """canvas/endpoints.md 4.9, "Delivery": a group lets people in, a private conversation never does."""
    if reply.recipients is None:
        return Audience(participants, frozenset(), participants)
    named = frozenset(reply.recipients)
    if reply.message.private:
        named &= participants
    return Audience(named | {reply.message.author_id}, named - participants, named)


async def write(
    conn: Connection, tag_sets: TagSets, reply: Reply, thread: LockedThread, *, cause: Cause | None
) -> None:
    """Delivers a reply into its conversation, which the caller's transaction has locked as ``thread``.

    Effects on every participant: canvas/endpoints.md 4.2 and 4.9, canvas/semantics.md 7.
    """
    message = reply.message
    meant = audience(reply, frozenset(thread.participants))
    if meant.newcomers:
        newcomers = sorted(meant.newcomers)
        await replies.join_by_message(conn, reply.conversation_id, newcomers, message.created_at)
        thread = thread._replace(participants=thread.participants | dict.fromkeys(newcomers, 0))
    if reply.included_message_ids:
        await replies.deliver_again(conn, reply.conversation_id, sorted(meant.moved), reply.included_message_ids)
    await replies.write_reply(
        conn,
        message,
        conversation_id=reply.conversation_id,
        message_id=reply.message_id,
        receivers=await file_message(
            conn,
            tag_sets,
            thread,
            request_tags=reply.tags,
            receivers=meant.receivers,
            private=message.private,
        ),
        restricted=meant.receivers != thread.participants.keys(),
        author_moves=message.author_id in meant.moved,
        event="forwarded" if meant.newcomers else "delivered",
        cause=cause,
    )
    if reply.user_note:
        await note_recipients(conn, message, sorted(meant.receivers - {message.author_id}))
