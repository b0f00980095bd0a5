"""Replies that wait for a worker, one line per conversation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import asyncpg

from sql.attempts import Redelivery
from sql.connection import Connection
from sql.sends import Message
from sql.statements import Command, One, Value, text_of

_QUEUE = text_of("queue_reply")
_CONVERSATION = text_of("conversation_of_reply")
_FIRST = text_of("first_waiting_reply")
_GIVEN_UP = text_of("given_up_reply")
_FINISH = text_of("finish_reply")
_POSTPONE = Value[int | None]("postpone_reply")
_FAIL = Command("fail_reply")
_COUNT_REDELIVERY = One("count_reply_redelivery", Redelivery)
_TAKE_DUE = text_of("take_due_replies")


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


async def queue_reply(conn: Connection, reply: Reply, due_at: datetime, traceparent: str | None) -> int:
    """Puts a reply in its conversation's line, whose lock the transaction holds; returns the reply's id."""
    return cast(
        int,
        await conn.fetchval(
            _QUEUE,
            reply.conversation_id,
            reply.message_id,
            reply.message.send_id,
            reply.recipients,
            reply.included_message_ids,
            reply.tags,
            reply.user_note,
            due_at,
            traceparent,
        ),
    )


async def conversation_of_reply(conn: Connection, reply_id: int) -> tuple[int, bool] | None:
    """Where the reply stands in line, and whether it was given up; None when it is delivered or unknown."""
    row = await conn.fetchrow(_CONVERSATION, reply_id)
    return None if row is None else (row["conversation_id"], row["given_up"])


async def first_waiting_reply(conn: Connection, conversation_id: int, commanded_id: int) -> WaitingReply | None:
    """The reply whose turn it is; None when none waits, or the first failed before and is not the commanded one."""
    return _waiting(await conn.fetchrow(_FIRST, conversation_id, commanded_id))


async def given_up_reply(conn: Connection, reply_id: int) -> WaitingReply | None:
    """A reply that was given up; None when it is not, or no longer."""
    return _waiting(await conn.fetchrow(_GIVEN_UP, reply_id))


def _waiting(row: asyncpg.Record | None) -> WaitingReply | None:
    if row is None:
        return None
    message = Message(
        send_id=row["send_id"],
        author_id=row["author_id"],
        created_at=row["created_at"],
        private=row["private"],
        context_key=0,
        has_attachments=row["has_attachments"],
        has_media_objects=row["has_media_objects"],
    )
    return WaitingReply(
        row["id"],
        Reply(
            conversation_id=row["conversation_id"],
            message_id=row["message_id"],
            message=message,
            recipients=row["recipients"],
            included_message_ids=row["included_message_ids"],
            tags=row["tags"],
            user_note=row["user_note"],
        ),
        row["traceparent"],
    )


async def finish_reply(conn: Connection, reply_id: int) -> None:
    """Takes a delivered reply out of the line."""
    await conn.execute(_FINISH, reply_id)


async def postpone_reply(
    conn: Connection, reply_id: int, *, error: str, now: datetime, first_wait: timedelta
) -> int | None:
    """Notes a failed attempt; returns how many there were, None when it does not count (any more)."""
    return await _POSTPONE(conn, reply_id=reply_id, error=error, now=now, first_wait=first_wait)


async def fail_reply(conn: Connection, reply_id: int, *, error: str, now: datetime) -> None:
    """Gives the reply up, unless it was before."""
    await _FAIL(conn, reply_id=reply_id, error=error, now=now)


async def count_reply_redelivery(conn: Connection, reply_id: int) -> Redelivery | None:
    """Notes that the command of a reply came back unsettled, for the first in its line; None: it is delivered.

    ``redeliveries`` is None also when another reply is the first.
    """
    return await _COUNT_REDELIVERY(conn, reply_id=reply_id)


async def take_due_replies(
    conn: Connection, *, now: datetime, due_at: datetime, limit: int
) -> list[tuple[int, str | None]]:
    """Replies first in their line that nobody has delivered in time, now due again at ``due_at``.

    (id, traceparent) of each.
    """
    return [(row["id"], row["traceparent"]) for row in await conn.fetch(_TAKE_DUE, now, due_at, limit)]
