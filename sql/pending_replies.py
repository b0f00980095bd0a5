"""Replies that wait for a worker, one line per conversation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sql.attempts import Redelivery
from sql.connection import Connection
from sql.sends import Message
from sql.statements import Column, Command, Many, One, Value


@dataclass(frozen=True, slots=True)
class Reply:
    """One message for an existing conversation, checked; its send is stored.

    ``recipients``: None for every participant, else those it is limited to, participants so far or not.
    """

    conversation_id: int
    message_id: int
    message: Message
    recipients: Sequence[int] | None
    included_message_ids: Sequence[int]
    tags: Sequence[str]
    user_note: bool


@dataclass(frozen=True, slots=True)
class WaitingReply:
    """A reply in line, under the id by which it is commanded; ``traceparent`` of the request that put it there."""

    id: int
    reply: Reply
    traceparent: str | None


class ReplyRow(NamedTuple):
    """A row of pending_replies with its send."""

    id: int
    conversation_id: int
    message_id: int
    recipients: list[int] | None
    included_message_ids: list[int]
    tags: list[str]
    user_note: bool
    traceparent: str | None
    send_id: int
    author_id: int
    created_at: datetime
    private: bool
    has_attachments: bool
    has_media_objects: bool

    def waiting(self) -> WaitingReply:
        """The waiting reply of the row."""
        message = Message(
            send_id=self.send_id,
            author_id=self.author_id,
            created_at=self.created_at,
            private=self.private,
            context_key=0,
            has_attachments=self.has_attachments,
            has_media_objects=self.has_media_objects,
        )
        reply = Reply(
            conversation_id=self.conversation_id,
            message_id=self.message_id,
            message=message,
            recipients=self.recipients,
            included_message_ids=self.included_message_ids,
            tags=self.tags,
            user_note=self.user_note,
        )
        return WaitingReply(self.id, reply, self.traceparent)


class ReplyPlace(NamedTuple):
    """Where a reply stands in line, and whether it was given up."""

    conversation_id: int
    given_up: bool


class DueReply(NamedTuple):
    """A reply to be commanded again, in the trace of the request that put it in line."""

    id: int
    traceparent: str | None


_QUEUE = Value[int]("queue_reply")
_CONVERSATION = One("conversation_of_reply", ReplyPlace)
_FIRST = One("first_waiting_reply", ReplyRow)
_GIVEN_UP = One("given_up_reply", ReplyRow)
_FINISH = Command("finish_reply")
_POSTPONE = Value[int | None]("postpone_reply")
_FAIL = Command("fail_reply")
_FORGIVE = Command("forgive_reply_redelivery")
_DEFER = Command("defer_reply")
_KNOWN = Column[int]("known_replies")
_COUNT_REDELIVERY = One("count_reply_redelivery", Redelivery)
_TAKE_DUE = Many("take_due_replies", DueReply)


async def queue_reply(conn: Connection, reply: Reply, patience: timedelta, traceparent: str | None) -> int:
    """Puts a reply in its conversation's line, whose lock the transaction holds; returns the reply's id.

    The sweeper leaves it alone for ``patience``.
    """
    return await _QUEUE(
        conn,
        conversation_id=reply.conversation_id,
        message_id=reply.message_id,
        send_id=reply.message.send_id,
        recipients=reply.recipients,
        included_message_ids=reply.included_message_ids,
        tags=reply.tags,
        user_note=reply.user_note,
        patience=patience,
        traceparent=traceparent,
    )


async def conversation_of_reply(conn: Connection, reply_id: int) -> ReplyPlace | None:
    """Where the reply stands in line; None when it is delivered or unknown."""
    return await _CONVERSATION(conn, reply_id=reply_id)


async def first_waiting_reply(conn: Connection, conversation_id: int, commanded_id: int) -> WaitingReply | None:
    """The reply whose turn it is; None when none waits, or the first failed before and is not the commanded one."""
    row = await _FIRST(conn, conversation_id=conversation_id, commanded_id=commanded_id)
    return None if row is None else row.waiting()


async def given_up_reply(conn: Connection, reply_id: int) -> WaitingReply | None:
    """A reply that was given up; None when it is not, or no longer."""
    row = await _GIVEN_UP(conn, reply_id=reply_id)
    return None if row is None else row.waiting()


async def finish_reply(conn: Connection, reply_id: int) -> None:
    """Takes a delivered reply out of the line."""
    await _FINISH(conn, reply_id=reply_id)


async def postpone_reply(conn: Connection, reply_id: int, *, error: str, first_wait: timedelta) -> int | None:
    """Notes a failed attempt; returns how many there were, None when it does not count (any more)."""
    return await _POSTPONE(conn, reply_id=reply_id, error=error, first_wait=first_wait)


async def fail_reply(conn: Connection, reply_id: int, *, error: str) -> None:
    """Gives the reply up, unless it was before."""
    await _FAIL(conn, reply_id=reply_id, error=error)


async def count_reply_redelivery(conn: Connection, reply_id: int) -> Redelivery | None:
    """Notes that the command of a reply came back unsettled, for the first in its line; None: it is delivered.

    ``redeliveries`` is None also when another reply is the first.
    """
    return await _COUNT_REDELIVERY(conn, reply_id=reply_id)


async def take_due_replies(conn: Connection, *, patience: timedelta, limit: int) -> list[DueReply]:
    """Replies first in their line that were not delivered in time, due again after ``patience``."""
    return await _TAKE_DUE(conn, patience=patience, limit=limit)


async def forgive_reply_redelivery(conn: Connection, reply_id: int) -> None:
    """Takes one noted redelivery back from the first of the reply's line."""
    await _FORGIVE(conn, reply_id=reply_id)


async def defer_reply(conn: Connection, reply_id: int, *, wait: timedelta) -> None:
    """Makes a waiting reply due after the wait, unless it is earlier."""
    await _DEFER(conn, reply_id=reply_id, wait=wait)


async def known_replies(conn: Connection, reply_ids: Sequence[int]) -> list[int]:
    """Those of the replies that are not delivered, given up ones among them."""
    return await _KNOWN(conn, reply_ids=reply_ids)
