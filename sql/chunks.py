"""Chunks: the recipients of a batch, delivered a chunk at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import orjson

from service.domain.event_metadata import Cause
from service.domain.tags import Codes
from sql.attempts import Redelivery
from sql.connection import Connection
from sql.outbox import cause_columns
from sql.statements import One, Value, text_of

_READ = text_of("read_chunk")
_DELIVER = text_of("deliver")
_PLAN = text_of("plan_batch")
_TAKE_DUE = text_of("take_due_chunks")
_POSTPONE = Value[int | None]("postpone_chunk")
_COUNT_REDELIVERY = One("count_chunk_redelivery", Redelivery)
_FAIL = text_of("fail_chunk")


@dataclass(frozen=True, slots=True)
class Message:
    """What a delivery writes: one send and what its threads need of it."""

    send_id: int
    author_id: int
    created_at: datetime
    private: bool
    context_key: int
    has_attachments: bool
    has_media_objects: bool


@dataclass(frozen=True, slots=True)
class PendingChunk:
    """A chunk that was still to be delivered when it was read, with the codes its people hold.

    ``held`` maps (code, whether it is current) to users who hold it, recipients or not. The empty code stands for any
    current code.
    """

    batch_id: int
    position: int
    message: Message
    first_id: int
    recipients: Sequence[int]
    tags: Sequence[str]
    user_note: bool
    sender: Codes
    held: Mapping[tuple[str, bool], AbstractSet[int]]


@dataclass(frozen=True, slots=True)
class SettledChunk:
    """A chunk that is done or stopped, with the states in which it was found."""

    chunk_state: str
    batch_state: str


@dataclass(frozen=True, slots=True)
class Retag:
    """A reused thread's row whose tags differ from what the message would give it; numbers of tag sets."""

    conversation_id: int
    user_id: int
    tag_set: int
    new_tag_set: int
    added: int  # what the message adds to the conversation


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a delivery did; conversation ids in the recipients' order when they were asked for.

    ``claimed``: the recipients of the chunk; None when it was no longer pending, so that nothing was written.
    """

    conversation_ids: Sequence[int]
    reused: int
    claimed: int | None
    retagged: Sequence[Retag]


async def read_chunk(conn: Connection, batch_id: int, position: int) -> PendingChunk | SettledChunk | None:
    """A chunk as it stands, not locked; None when there is no such chunk."""
    rows = await conn.fetch(_READ, batch_id, position)
    if not rows:
        return None
    row = rows[0]
    if row["send_id"] is None:
        return SettledChunk(row["chunk_state"], row["batch_state"])
    held: dict[tuple[str, bool], set[int]] = defaultdict(set)
    for found in rows:
        if found["code"] is not None:
            held[found["code"], found["active"]].update(found["holders"] or row["recipients"])
    active = frozenset(row["sender_active_codes"])
    return PendingChunk(
        batch_id=batch_id,
        position=position,
        message=Message(
            send_id=row["send_id"],
            author_id=row["author_id"],
            created_at=row["created_at"],
            private=row["private"],
            context_key=row["context_key"],
            has_attachments=row["has_attachments"],
            has_media_objects=row["has_media_objects"],
        ),
        first_id=row["first_id"],
        recipients=row["recipients"],
        tags=row["tags"],
        user_note=row["user_note"],
        sender=Codes(frozenset(row["sender_codes"]), active, bool(active)),
        held=held,
    )


async def deliver(
    conn: Connection,
    message: Message,
    *,
    first_id: int,
    tag_sets: Sequence[int],
    own_tag_sets: Sequence[int],
    sender_tag_sets: Sequence[int],
    now: datetime,
    cause: Cause | None,
    recipients: Sequence[int] | None = None,
    chunk: tuple[int, int] | None = None,
    want_ids: bool = False,
) -> Delivered:
    """Writes the message into every recipient's thread.

    Give ``recipients``, or a chunk (batch id, position): then it is theirs, and the chunk is locked and advanced.
    Recipient i of an opened thread gets id ``first_id + i``. The tag sets run parallel to the recipients, or one number
    stands for all. Without a ``cause`` no event tells of it.
    Raises asyncpg.UniqueViolationError or DeadlockDetectedError when two sends meet: roll back and run again.
    """
    batch_id, position = chunk or (None, None)
    row = await conn.fetchrow(
        _DELIVER,
        message.send_id,
        message.author_id,
        message.private,
        message.context_key,
        first_id,
        recipients,
        tag_sets,
        own_tag_sets,
        sender_tag_sets,
        message.created_at,
        message.has_attachments,
        message.has_media_objects,
        batch_id,
        position,
        now,
        want_ids,
        *cause_columns(cause),
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return Delivered(
        conversation_ids=row["conversation_ids"] or (),
        reused=row["reused"],
        claimed=row["claimed"],
        retagged=tuple(Retag(**item) for item in orjson.loads(row["retagged"] or "[]")),
    )


async def plan_batch(conn: Connection, batch_id: int, due_at: datetime) -> list[int]:
    """Positions of the batch's pending chunks, which the sweeper now leaves alone until ``due_at``."""
    return [row["position"] for row in await conn.fetch(_PLAN, batch_id, due_at)]


async def take_due_chunks(
    conn: Connection, *, now: datetime, due_at: datetime, limit: int
) -> list[tuple[int, int, str | None]]:
    """Pending chunks nobody has reported on in time, now due again at ``due_at``: batch id, position, traceparent."""
    return [
        (row["batch_id"], row["position"], row["traceparent"])
        for row in await conn.fetch(_TAKE_DUE, now, due_at, limit)
    ]


async def postpone_chunk(
    conn: Connection, batch_id: int, position: int, *, error: str, now: datetime, first_wait: timedelta
) -> int | None:
    """Notes a failed attempt; returns how many there were, None when it does not count (any more)."""
    return await _POSTPONE(conn, batch_id=batch_id, position=position, error=error, now=now, first_wait=first_wait)


async def count_redelivery(conn: Connection, batch_id: int, position: int) -> Redelivery | None:
    """Notes that the command of a chunk came back unsettled; None when there is no such chunk."""
    return await _COUNT_REDELIVERY(conn, batch_id=batch_id, position=position)


async def fail_chunk(
    conn: Connection, batch_id: int, position: int, *, error: str, now: datetime, cause: Cause | None
) -> str | None:
    """Gives the chunk up; returns the batch's state, None when the chunk was no longer pending."""
    return cast("str | None", await conn.fetchval(_FAIL, batch_id, position, error, now, *cause_columns(cause)))
