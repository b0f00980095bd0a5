"""Scheduled batches: accepted, moved, and started when they are due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from service.domain.event_metadata import Cause
from sql.arrays import array_text
from sql.connection import Connection
from sql.outbox import cause_columns
from sql.statements import Command, One, Value


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A send that has been accepted for later; recipients in ascending order. ``request``: JSON."""

    send_id: int
    sender_id: int
    tags: Sequence[str]
    user_note: bool
    recipients: Sequence[int]
    chunk_size: int
    created_at: datetime
    send_at: datetime
    request: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Start:
    """What becomes of a scheduled batch; recipients in ascending order.

    ``tags``: None where nobody is left. ``group_id``: the conversation that all of them share and that is written
    already; then a chunk has one of them.
    """

    tags: Sequence[str] | None
    recipients: Sequence[int]
    chunk_size: int
    members_of_course: int | None = None
    group_id: int | None = None
    audiences: Sequence[str] = ()  # as of NewBatch
    from_conversation_id: int | None = None


class NextRow(NamedTuple):
    """When a send is due that is not started."""

    seconds: float


class DueRow(NamedTuple):
    """A scheduled send whose time has come, with its batch as it stands; ``request``: JSON; ``late``: seconds."""

    batch_id: int
    request: str
    traceparent: str | None
    state: str
    sender_id: int
    send_id: int
    late: float


class StartedRow(NamedTuple):
    """A batch that has begun."""

    state: str
    total: int
    delivered: int
    skipped: int


class RefusedRow(NamedTuple):
    """A batch that nobody gets."""

    total: int


_MAY_START_AT = Value[bool]("may_start_at")
_SCHEDULE = Value[int]("schedule_batch")
_MOVE = Value[int | None]("move_batch")
_NEXT = One("next_start", NextRow)
_TAKE = One("take_scheduled", DueRow)
_FORGET = Command("forget_scheduled")
_POSTPONE = Command("postpone_scheduled")
_START = One("start_batch", StartedRow)
_REFUSE = One("refuse_start", RefusedRow)


async def may_start_at(conn: Connection, send_at: datetime, *, longest: timedelta) -> bool:
    """Whether the moment lies ahead, and not further than ``longest``, by the database's clock."""
    return await _MAY_START_AT(conn, send_at=send_at, longest=longest)


async def schedule_batch(conn: Connection, new: NewSchedule, *, cause: Cause | None) -> int:
    """Stores a batch that starts later, and records that; its id."""
    metadata, _ = cause_columns(cause)
    return await _SCHEDULE(
        conn,
        send_id=new.send_id,
        sender_id=new.sender_id,
        tags=new.tags,
        user_note=new.user_note,
        recipients=array_text(new.recipients),
        chunk_size=new.chunk_size,
        created_at=new.created_at,
        send_at=new.send_at,
        request=new.request,
        traceparent=new.traceparent,
        cause=metadata,
    )


async def move_batch(conn: Connection, batch_id: int, send_at: datetime, *, cause: Cause | None) -> bool:
    """Gives a scheduled batch another time, and records that; False when it is not scheduled (any more)."""
    metadata, traceparent = cause_columns(cause)
    moved = await _MOVE(conn, batch_id=batch_id, send_at=send_at, cause=metadata, traceparent=traceparent)
    return moved is not None


async def next_start(conn: Connection) -> float | None:
    """Seconds until the next scheduled send is due; None when there is none."""
    found = await _NEXT(conn)
    return None if found is None else found.seconds


async def take_scheduled(conn: Connection) -> DueRow | None:
    """The send that is due for longest and that nobody else starts, locked until the transaction ends."""
    return await _TAKE(conn)


async def forget_scheduled(conn: Connection, batch_id: int) -> None:
    """Its batch needs the request no longer."""
    await _FORGET(conn, batch_id=batch_id)


async def postpone_scheduled(
    conn: Connection, batch_id: int, *, error: str, first_wait: timedelta, doublings: int
) -> None:
    """Notes a failed start; each next one waits twice as long, ``doublings`` times."""
    await _POSTPONE(conn, batch_id=batch_id, error=error, first_wait=first_wait, doublings=doublings)


async def start_batch(
    conn: Connection,
    batch_id: int,
    start: Start,
    *,
    sender_id: int,
    cause: Cause | None,
) -> StartedRow | None:
    """Replaces the chunks and counters of a scheduled batch and records its beginning, where anybody is settled by it.

    None: it is no longer scheduled, or no longer this sender's; roll back.
    """
    metadata, traceparent = cause_columns(cause)
    return await _START(
        conn,
        batch_id=batch_id,
        sender_id=sender_id,
        tags=start.tags,
        recipients=array_text(start.recipients),
        chunk_size=start.chunk_size,
        members_of_course=start.members_of_course,
        audiences=list(start.audiences),
        from_conversation_id=start.from_conversation_id,
        group_id=start.group_id,
        cause=metadata,
        traceparent=traceparent,
    )


async def refuse_start(conn: Connection, batch_id: int, *, error: str, cause: Cause | None) -> int | None:
    """Ends a scheduled batch in error, all its recipients skipped; how many, None when it is no longer scheduled."""
    metadata, traceparent = cause_columns(cause)
    ended = await _REFUSE(conn, batch_id=batch_id, error=error, cause=metadata, traceparent=traceparent)
    return None if ended is None else ended.total
