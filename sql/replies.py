"""Writing into conversations that exist: what is asked before, who is locked, what is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from service.domain.contexts import Context, ContextType
from service.domain.event_metadata import Cause
from sql.connection import Connection
from sql.messages import MessageKey
from sql.outbox import cause_columns
from sql.sends import Message
from sql.statements import Column, Command, Many, One, Single, Value


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation that a reply is meant for."""

    conversation_id: int
    private: bool
    context: Context | None
    participants: Sequence[int]


class LockedThread(NamedTuple):
    """A conversation that only this transaction can write into; numbers of tag sets, its own and by participant."""

    tag_set: int
    participants: dict[int, int]


class Moment(NamedTuple):
    """When the next message of a locked conversation is written, and what waits before it."""

    at: datetime
    waiting: bool
    joining: Sequence[int]


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who gets a message, ascending, with the tag sets of their rows; the conversation's and the message's beside."""

    users: Sequence[int]
    tag_sets: Sequence[int]
    conversation_tag_set: int
    message_tag_set: int


class ConversationToReply(NamedTuple):
    """Of a conversation, what the checks of a reply ask."""

    private: bool
    context_type: str | None
    context_id: int | None
    participant_ids: list[int]


class IncludedMessage(NamedTuple):
    """A message that is to be given again; ``had``: the viewer has a row for it, deleted or not."""

    id: int
    had: bool


class LockedParticipant(NamedTuple):
    """A participant's row, locked."""

    user_id: int
    tag_set: int


_TO_REPLY = One("conversation_to_reply", ConversationToReply)
_OUTSIDERS = Column[str]("outsiders_of_course")
_INCLUDED = Many("included_message_rows", IncludedMessage)
_LOCK_CONVERSATION = Value[int]("lock_conversation")
_LOCK_PARTICIPANTS = Many("lock_participants", LockedParticipant)
_NEXT_MOMENT = Single("next_moment", Moment)
_JOIN = Command("join_by_message")
_DELIVER_AGAIN = Command("deliver_again")
_WRITE = Command("write_reply")
_JOIN_WITH_HISTORY = Command("join_with_history")
_ANNOUNCE_ARRIVAL = Command("announce_arrival")
_NEWEST = One("newest_message", MessageKey)


async def find_thread(conn: Connection, user_id: int, conversation_id: int) -> Thread | None:
    """The conversation, deleted by the user or not; None when the user does not take part."""
    row = await _TO_REPLY(conn, conversation_id=conversation_id, user_id=user_id)
    if row is None:
        return None
    context = None
    if row.context_type is not None and row.context_id is not None:
        context = Context(ContextType(row.context_type), row.context_id)
    return Thread(conversation_id, row.private, context, row.participant_ids)


async def outsiders_of_course(conn: Connection, course_id: int, user_ids: Sequence[int]) -> list[str]:
    """Names of those users who have no current enrolment in the course, by user id."""
    return await _OUTSIDERS(conn, course_id=course_id, user_ids=user_ids)


async def included_messages(
    conn: Connection, user_id: int, conversation_id: int, message_ids: Sequence[int]
) -> dict[int, bool]:
    """Those of the messages that stand in the conversation: id to whether the user has a row, deleted or not."""
    return dict(await _INCLUDED(conn, conversation_id=conversation_id, user_id=user_id, message_ids=message_ids))


async def lock_thread(conn: Connection, conversation_id: int) -> LockedThread:
    """Locks the conversation and all its participants until the transaction ends."""
    tag_set = await _LOCK_CONVERSATION(conn, conversation_id=conversation_id)
    return LockedThread(tag_set, dict(await _LOCK_PARTICIPANTS(conn, conversation_id=conversation_id)))


async def next_moment(conn: Connection, conversation_id: int) -> Moment:
    """For a locked conversation."""
    return await _NEXT_MOMENT(conn, conversation_id=conversation_id)


async def join_by_message(conn: Connection, conversation_id: int, user_ids: Sequence[int], since: datetime) -> None:
    """New participants without history: they have what is written from ``since`` on."""
    await _JOIN(conn, conversation_id=conversation_id, user_ids=user_ids, since=since)


async def deliver_again(
    conn: Connection, conversation_id: int, user_ids: Sequence[int], message_ids: Sequence[int]
) -> None:
    """Gives old messages to those of the users who have none of them, or deleted theirs."""
    await _DELIVER_AGAIN(conn, conversation_id=conversation_id, user_ids=user_ids, message_ids=message_ids)


async def write_reply(
    conn: Connection,
    message: Message,
    *,
    conversation_id: int,
    message_id: int,
    receivers: Receivers,
    restricted: bool,
    author_moves: bool,
    event: Literal["delivered", "forwarded"],
    cause: Cause | None,
) -> None:
    """Writes one message for its receivers, the author among them.

    ``restricted``: it is for them only, for ever. ``author_moves``: the author's times and flags follow the message.
    ``event``: ``forwarded`` when people joined by it; without a ``cause`` none is recorded.
    """
    metadata, traceparent = cause_columns(cause)
    await _WRITE(
        conn,
        conversation_id=conversation_id,
        message_id=message_id,
        send_id=message.send_id,
        message_tag_set=receivers.message_tag_set,
        restricted=restricted,
        receivers=receivers.users,
        tag_sets=receivers.tag_sets,
        conversation_tag_set=receivers.conversation_tag_set,
        has_attachments=message.has_attachments,
        has_media_objects=message.has_media_objects,
        author_id=message.author_id,
        author_moves=author_moves,
        created_at=message.created_at,
        event=event,
        cause=metadata,
        traceparent=traceparent,
    )


async def join_with_history(
    conn: Connection, conversation_id: int, adder_id: int, newcomers: Sequence[tuple[int, int]]
) -> None:
    """New participants, given as (user id, tag set), with every message the adder has a row for."""
    users, tag_sets = zip(*newcomers, strict=True)
    await _JOIN_WITH_HISTORY(
        conn, conversation_id=conversation_id, adder_id=adder_id, newcomers=users, tag_sets=tag_sets
    )


async def announce_arrival(
    conn: Connection,
    *,
    conversation_id: int,
    message_id: int,
    adder_id: int,
    at: datetime,
    root_account_id: int,
    newcomers: Sequence[int],
    cause: Cause | None,
) -> None:
    """Writes the generated message that these people were added. Without a ``cause`` no event is recorded."""
    metadata, traceparent = cause_columns(cause)
    await _ANNOUNCE_ARRIVAL(
        conn,
        conversation_id=conversation_id,
        message_id=message_id,
        adder_id=adder_id,
        created_at=at,
        root_account_ids=[root_account_id],
        newcomers=sorted(newcomers),
        cause=metadata,
        traceparent=traceparent,
    )


async def newest_message(conn: Connection, user_id: int, conversation_id: int) -> MessageKey | None:
    """The newest message of the conversation that the user has."""
    return await _NEWEST(conn, conversation_id=conversation_id, user_id=user_id)
