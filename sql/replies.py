"""Writing into conversations that exist: what is asked before, who is locked, what is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, cast

from service.domain.contexts import Context, ContextType
from sql.connection import Connection
from sql.sends import Message
from sql.statements import text_of

_TO_REPLY = text_of("conversation_to_reply")
_OUTSIDERS = text_of("outsiders_of_course")
_INCLUDED = text_of("included_message_rows")
_LOCK_CONVERSATION = text_of("lock_conversation")
_LOCK_PARTICIPANTS = text_of("lock_participants")
_NEXT_MOMENT = text_of("next_moment")
_JOIN = text_of("join_by_message")
_DELIVER_AGAIN = text_of("deliver_again")
_WRITE = text_of("write_reply")
_JOIN_WITH_HISTORY = text_of("join_with_history")
_ANNOUNCE_ARRIVAL = text_of("announce_arrival")
_NEWEST = text_of("newest_message")


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation that somebody wants to write into."""

    conversation_id: int
    private: bool
    context: Context | None
    participants: Sequence[int]


class LockedThread(NamedTuple):
    """A conversation nobody else can write into now; numbers of tag sets, its own and by participant."""

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


async def find_thread(conn: Connection, user_id: int, conversation_id: int) -> Thread | None:
    """The conversation, deleted by the user or not; None when the user does not take part."""
    row = await conn.fetchrow(_TO_REPLY, conversation_id, user_id)
    if row is None:
        return None
    context = row["context_type"] and Context(ContextType(row["context_type"]), row["context_id"])
    return Thread(conversation_id, row["private"], context, row["participant_ids"])


async def outsiders_of_course(conn: Connection, course_id: int, user_ids: Sequence[int]) -> list[str]:
    """Names of those users who have no current enrolment in the course, by user id."""
    return [row["name"] for row in await conn.fetch(_OUTSIDERS, course_id, user_ids)]


async def included_messages(
    conn: Connection, user_id: int, conversation_id: int, message_ids: Sequence[int]
) -> dict[int, bool]:
    """Those of the messages that stand in the conversation: id to whether the user has a row, deleted or not."""
    rows = await conn.fetch(_INCLUDED, conversation_id, user_id, message_ids)
    return {row["id"]: row["had"] for row in rows}


async def lock_thread(conn: Connection, conversation_id: int) -> LockedThread:
    """Locks the conversation and all its participants until the transaction ends."""
    tag_set = await conn.fetchval(_LOCK_CONVERSATION, conversation_id)
    rows = await conn.fetch(_LOCK_PARTICIPANTS, conversation_id)
    return LockedThread(tag_set, {row["user_id"]: row["tag_set"] for row in rows})


async def next_moment(conn: Connection, conversation_id: int) -> Moment:
    """For a locked conversation."""
    row = await conn.fetchrow(_NEXT_MOMENT, conversation_id)
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return Moment(row["at"], row["waiting"], row["joining"])


async def join_by_message(conn: Connection, conversation_id: int, user_ids: Sequence[int], since: datetime) -> None:
    """New participants without history: they have what is written from ``since`` on."""
    await conn.execute(_JOIN, conversation_id, user_ids, since)


async def deliver_again(
    conn: Connection, conversation_id: int, user_ids: Sequence[int], message_ids: Sequence[int]
) -> None:
    """Gives old messages to those of the users who have none of them, or deleted theirs."""
    await conn.execute(_DELIVER_AGAIN, conversation_id, user_ids, message_ids)


async def write_reply(
    conn: Connection,
    message: Message,
    *,
    conversation_id: int,
    message_id: int,
    receivers: Receivers,
    restricted: bool,
    author_moves: bool,
) -> None:
    """Writes one message for its receivers, the author among them.

    ``restricted``: nobody else will ever have it. ``author_moves``: the author's times and flags follow the message.
    """
    await conn.execute(
        _WRITE,
        conversation_id,
        message_id,
        message.send_id,
        receivers.message_tag_set,
        restricted,
        receivers.users,
        receivers.tag_sets,
        receivers.conversation_tag_set,
        message.has_attachments,
        message.has_media_objects,
        message.author_id,
        author_moves,
        message.created_at,
    )


async def join_with_history(
    conn: Connection, conversation_id: int, adder_id: int, newcomers: Sequence[tuple[int, int]]
) -> None:
    """New participants, given as (user id, tag set), with every message the adder has a row for."""
    users, tag_sets = zip(*newcomers, strict=True)
    await conn.execute(_JOIN_WITH_HISTORY, conversation_id, adder_id, users, tag_sets)


async def announce_arrival(
    conn: Connection,
    *,
    conversation_id: int,
    message_id: int,
    adder_id: int,
    at: datetime,
    root_account_id: int,
    newcomers: Sequence[int],
) -> None:
    """Writes the generated message that these people were added."""
    await conn.execute(
        _ANNOUNCE_ARRIVAL, conversation_id, message_id, adder_id, at, [root_account_id], sorted(newcomers)
    )


async def newest_message(conn: Connection, user_id: int, conversation_id: int) -> int | None:
    """The newest message of the conversation that the user has."""
    return cast("int | None", await conn.fetchval(_NEWEST, conversation_id, user_id))
