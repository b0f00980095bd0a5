"""Chunks: the recipients of a batch, delivered a chunk at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from service.domain.event_metadata import Cause
from service.domain.tags import Codes
from sql.attempts import Redelivery
from sql.connection import Connection
from sql.outbox import cause_columns
from sql.sends import Message
from sql.statements import Command, Many, One, Single, Value


@dataclass(frozen=True, slots=True)
class PendingChunk:
    """A chunk that was still to be delivered when it was read, with the codes its people hold.

    ``held`` maps (code, whether it is current) to users who hold it, recipients or not. The empty code stands for any
    current code. ``recheck``: the batch was stopped in between, so who can still be reached is to be looked up again.
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
    recheck: bool


@dataclass(frozen=True, slots=True)
class SettledChunk:
    """A chunk that is done or stopped, with the states in which it was found."""

    chunk_state: str
    batch_state: str


class ChunkRow(NamedTuple):
    """A chunk and one code of its sender's; where it is not ``deliverable``, all behind that may be null."""

    chunk_state: str
    batch_state: str
    deliverable: bool
    send_id: int
    recheck: bool
    recipients: list[int]
    first_id: int
    tags: list[str]
    user_note: bool
    author_id: int
    created_at: datetime
    private: bool
    context_key: int
    has_attachments: bool
    has_media_objects: bool
    sender_codes: list[str]
    sender_active_codes: list[str]
    code: str | None
    active: bool
    holders: list[int] | None  # null: all recipients


class DueChunk(NamedTuple):
    """A chunk to be commanded again, in the trace of the request that sent it."""

    batch_id: int
    position: int
    traceparent: str | None


class SecondHalf(NamedTuple):
    """Where the second half of a chunk stands that was cut in two."""

    position: int


class FoundBatch(NamedTuple):
    """A batch that a dead letter names, its state, null where there is none, and whether a chunk of it is pending."""

    batch_id: int
    state: str | None
    pending: bool


class FoundChunk(NamedTuple):
    """A chunk that a dead letter names, with the states in which it and its batch were found; null: there is none."""

    batch_id: int
    position: int
    chunk_state: str | None
    batch_state: str | None


_READ = Many("read_chunk", ChunkRow)
_PLANNABLE = Many("plannable_batches", FoundBatch)
_TAKE_DUE = Many("take_due_chunks", DueChunk)
_MAKE_DUE = Command("make_chunks_due")
_POSTPONE = Value[int | None]("postpone_chunk")
_BEGIN_SPLIT = Value[int | None]("begin_split")
_SPLIT = Single("split_chunk", SecondHalf)
_COUNT_REDELIVERY = One("count_chunk_redelivery", Redelivery)
_FORGIVE = Command("forgive_chunk_redelivery")
_DEFER = Command("defer_chunk")
_REVIVE = Many("revive_chunks", FoundChunk)
_FAIL = Value[str | None]("fail_chunk")


async def read_chunk(conn: Connection, batch_id: int, position: int) -> PendingChunk | SettledChunk | None:
    """A chunk as it stands, not locked; None when there is no such chunk."""
    rows = await _READ(conn, batch_id=batch_id, position=position)
    if not rows:
        return None
    if not rows[0].deliverable:
        return SettledChunk(rows[0].chunk_state, rows[0].batch_state)
    return pending_chunk(batch_id, position, rows)


def pending_chunk(batch_id: int, position: int, rows: Sequence[ChunkRow]) -> PendingChunk:
    """What the rows say of one chunk that is deliverable; at least one row."""
    row = rows[0]
    held: dict[tuple[str, bool], set[int]] = defaultdict(set)
    for found in rows:
        if found.code is not None:
            held[found.code, found.active].update(found.holders or row.recipients)
    active = frozenset(row.sender_active_codes)
    return PendingChunk(
        batch_id=batch_id,
        position=position,
        message=Message(
            send_id=row.send_id,
            author_id=row.author_id,
            created_at=row.created_at,
            private=row.private,
            context_key=row.context_key,
            has_attachments=row.has_attachments,
            has_media_objects=row.has_media_objects,
        ),
        first_id=row.first_id,
        recipients=row.recipients,
        tags=row.tags,
        user_note=row.user_note,
        sender=Codes(frozenset(row.sender_codes), active, bool(active)),
        held=held,
        recheck=row.recheck,
    )


async def plannable_batches(conn: Connection, batch_ids: Sequence[int]) -> list[FoundBatch]:
    """Of each asked batch, in any order, what there is to plan."""
    return await _PLANNABLE(conn, batch_ids=batch_ids)


async def take_due_chunks(conn: Connection, *, patience: timedelta, limit: int) -> list[DueChunk]:
    """Pending chunks without a report in time, due again after ``patience``."""
    return await _TAKE_DUE(conn, patience=patience, limit=limit)


async def make_chunks_due(conn: Connection, batch_id: int, positions: Sequence[int]) -> None:
    """Those of them that are taken for commanded fall due now."""
    await _MAKE_DUE(conn, batch_id=batch_id, positions=positions)


async def postpone_chunk(
    conn: Connection, batch_id: int, position: int, *, error: str, first_wait: timedelta
) -> int | None:
    """Notes a failed attempt; returns how many there were, None when it does not count (any more)."""
    return await _POSTPONE(conn, batch_id=batch_id, position=position, error=error, first_wait=first_wait)


async def begin_split(conn: Connection, batch_id: int, position: int, *, free: int, for_each: int, most: int) -> bool:
    """Whether a pending chunk may be cut in two; if so, it and its batch stay locked, and the cut is counted.

    A batch is cut ``free`` times, once ``for_each`` so many recipients, and twice for each chunk that was delivered;
    ``most`` times in all.
    """
    counted = await _BEGIN_SPLIT(conn, batch_id=batch_id, position=position, free=free, for_each=for_each, most=most)
    return counted is not None


async def split_chunk(
    conn: Connection, batch_id: int, position: int, *, error: str, redeliveries: int, patience: timedelta
) -> int:
    """Cuts the chunk in two, after begin_split in the same transaction; returns the position of the second half.

    The second half waits for its turn; the sweeper leaves the first alone for ``patience``. ``redeliveries``: how many
    a half of several begins with.
    """
    made = await _SPLIT(
        conn, batch_id=batch_id, position=position, error=error, redeliveries=redeliveries, patience=patience
    )
    return made.position


async def count_chunk_redelivery(conn: Connection, batch_id: int, position: int) -> Redelivery | None:
    """Notes that the command of a chunk came back unsettled; None when there is no such chunk."""
    return await _COUNT_REDELIVERY(conn, batch_id=batch_id, position=position)


async def fail_chunk(conn: Connection, batch_id: int, position: int, *, error: str, cause: Cause | None) -> str | None:
    """Gives the chunk up; returns the batch's state, None when the chunk was no longer pending."""
    metadata, traceparent = cause_columns(cause)
    return await _FAIL(
        conn,
        batch_id=batch_id,
        position=position,
        error=error,
        cause=metadata,
        traceparent=traceparent,
    )


async def forgive_chunk_redelivery(conn: Connection, batch_id: int, position: int) -> None:
    """Takes one noted redelivery back."""
    await _FORGIVE(conn, batch_id=batch_id, position=position)


async def defer_chunk(conn: Connection, batch_id: int, position: int, *, wait: timedelta) -> None:
    """Makes a pending chunk that no transaction has locked due after the wait, unless it is earlier."""
    await _DEFER(conn, batch_id=batch_id, position=position, wait=wait)


async def revive_chunks(
    conn: Connection, asked: Sequence[tuple[int, int]], *, due_after: timedelta
) -> list[FoundChunk]:
    """Makes those of the chunks (batch id, position) pending again that were given up, in batches not cancelled.

    Returns how each was found. The sweeper commands them after ``due_after``, should no other do so before.
    """
    batch_ids, positions = [batch_id for batch_id, _ in asked], [position for _, position in asked]
    return await _REVIVE(conn, batch_ids=batch_ids, positions=positions, due_after=due_after)
