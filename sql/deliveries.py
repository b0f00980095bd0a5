"""Deliveries: what a send writes into the conversations of its recipients, opened by it or there before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import orjson

from service.domain.event_metadata import Cause
from sql.connection import Connection
from sql.outbox import cause_columns
from sql.sends import Message
from sql.statements import Column, Command, Single


@dataclass(frozen=True, slots=True)
class Retag:
    """A reused conversation's row whose tags differ from what the message would give it; numbers of tag sets."""

    conversation_id: int
    user_id: int
    tag_set: int
    new_tag_set: int
    added: int  # what the message adds to the conversation


@dataclass(frozen=True, slots=True)
class Succession:
    """How many chunks of a batch may be commanded at a time, and how long the sweeper leaves the next one alone."""

    in_flight: int
    patience: timedelta


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a delivery did; conversation ids in the recipients' order when they were asked for.

    ``claimed``: the recipients of the chunk; None when it was no longer pending, so that nothing was written.
    ``next_position``: the chunk of the batch that is to be commanded now; None where there is none.
    """

    conversation_ids: Sequence[int]
    reused: int
    claimed: int | None
    retagged: Sequence[Retag]
    next_position: int | None


class DeliveredRow(NamedTuple):
    """What the statement says of a delivery; ``retagged``: JSON."""

    reused: int
    claimed: int | None
    next_position: int | None
    conversation_ids: list[int] | None
    retagged: str | None


_DELIVER = Single("deliver", DeliveredRow)
_OPEN_GROUP = Command("open_group")
_ORDER = Column[int]("newest_authored_first")


async def deliver(
    conn: Connection,
    message: Message,
    *,
    first_id: int,
    tag_sets: Sequence[int],
    own_tag_sets: Sequence[int],
    sender_tag_sets: Sequence[int],
    cause: Cause | None,
    recipients: Sequence[int] | None = None,
    chunk: tuple[int, int] | None = None,
    rechecked: bool = False,
    succession: Succession | None = None,
    want_ids: bool = False,
) -> Delivered:
    """Writes the message into the conversation with every recipient.

    Give ``recipients``, or a chunk (batch id, position): then it is theirs, and the chunk is locked and advanced;
    one whose recipients have to be looked up again only where they were, ``rechecked``. With a ``succession`` the next
    one of the batch takes its place.
    Recipient i gets a message, and where there is none yet a conversation, of id ``first_id + i``. The tag sets run
    parallel to the recipients, or one number stands for all. Without a ``cause`` no event is recorded.
    Raises asyncpg.UniqueViolationError or DeadlockDetectedError when two sends conflict: roll back, run
    again.
    """
    batch_id, position = chunk or (None, None)
    metadata, traceparent = cause_columns(cause)
    row = await _DELIVER(
        conn,
        send_id=message.send_id,
        author_id=message.author_id,
        private=message.private,
        context_key=message.context_key,
        created_at=message.created_at,
        has_attachments=message.has_attachments,
        has_media_objects=message.has_media_objects,
        first_id=first_id,
        recipients=recipients,
        tag_sets=tag_sets,
        own_tag_sets=own_tag_sets,
        sender_tag_sets=sender_tag_sets,
        batch_id=batch_id,
        position=position,
        rechecked=rechecked,
        in_flight=succession.in_flight if succession else None,
        patience=succession.patience if succession else None,
        want_ids=want_ids,
        cause=metadata,
        traceparent=traceparent,
    )
    return Delivered(
        conversation_ids=row.conversation_ids or (),
        reused=row.reused,
        claimed=row.claimed,
        retagged=tuple(Retag(**item) for item in orjson.loads(row.retagged or "[]")),
        next_position=row.next_position,
    )


async def open_group(
    conn: Connection,
    message: Message,
    *,
    conversation_id: int,
    tag_set: int,
    participants: Sequence[int],
    own_tag_sets: Sequence[int],
    cause: Cause | None,
) -> None:
    """Opens one non-private conversation; ``own_tag_sets`` runs parallel to ``participants``, the author among them.

    Without a ``cause`` no event is recorded.
    """
    metadata, traceparent = cause_columns(cause)
    await _OPEN_GROUP(
        conn,
        conversation_id=conversation_id,
        send_id=message.send_id,
        tag_set=tag_set,
        has_attachments=message.has_attachments,
        has_media_objects=message.has_media_objects,
        author_id=message.author_id,
        created_at=message.created_at,
        participants=participants,
        own_tag_sets=own_tag_sets,
        cause=metadata,
        traceparent=traceparent,
    )


async def newest_authored_first(conn: Connection, author_id: int, conversation_ids: Sequence[int]) -> list[int]:
    """The conversations, last written first, as their author sees them after a bulk create."""
    return await _ORDER(conn, author_id=author_id, conversation_ids=conversation_ids)
