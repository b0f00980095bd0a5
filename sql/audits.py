"""Audits: batches that have ended, compared with the inboxes of their recipients."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from service.domain.event_metadata import Cause
from sql.chunks import ChunkRow, PendingChunk, pending_chunk
from sql.connection import Connection
from sql.outbox import cause_columns
from sql.statements import Command, Many, One, Single, Value


class AuditRow(NamedTuple):
    """An audit that has begun: chunks up to ``position`` are done, ``recipients`` compared, ``missing`` of them mended.

    ``ended``: whether the batch still is at the end, ``ended_at``, that is audited.
    """

    batch_id: int
    ended_at: datetime
    position: int
    recipients: int
    missing: int
    ended: bool


class Span(NamedTuple):
    """The next few chunks of a batch: the position of the last one, and how many of them count as delivered."""

    until: int
    recipients: int


class MissingCopy(NamedTuple):
    """A recipient who counts as delivered and lacks something; ``conversation_id``: where the message is to be.

    ``anew``: the recipient lacks it, and not the sender alone.
    """

    position: int
    user_id: int
    message_id: int
    conversation_id: int
    anew: bool


class Recount(NamedTuple):
    """Counters of a batch, as they were and as its recipients by state have them.

    ``pending`` counts those who are to get it still; ``listed`` is the sum. Where it is the ``total``, counters that
    ``differs`` were set right.
    """

    counted_delivered: int
    counted_failed: int
    counted_skipped: int
    delivered: int
    failed: int
    skipped: int
    pending: int
    total: int
    listed: int
    differs: bool


_OPEN = Command("open_audits")
_TAKE = One("take_audit", AuditRow)
_SPAN = Single("next_span", Span)
_FIND = Many("find_missing", MissingCopy)
_KEEP_MERGES_OUT = Command("keep_merges_out")
_READ = Many("read_audited_chunk", ChunkRow)
_RESTORE = Command("restore_copies")
_SHOW = Command("show_restored")
_PASS = Command("pass_audit")
_LOCK = Value[int | None]("lock_ended_batch")
_RECOUNT = Single("recount_batch", Recount)
_FINISH = Command("finish_audit")
_POSTPONE = Command("postpone_audit")
_LAG = Value[float]("audit_lag")


async def open_audits(conn: Connection, *, limit: int) -> None:
    """An audit for each batch that has ended since its last one."""
    await _OPEN(conn, limit=limit)


async def take_audit(conn: Connection, *, patience: timedelta) -> AuditRow | None:
    """The audit whose turn it is, locked; None when others have all there are.

    While a batch is under way only one that has waited for ``patience``.
    """
    return await _TAKE(conn, patience=patience)


async def next_span(conn: Connection, batch_id: int, *, after: int, limit: int) -> Span:
    """The ``limit`` chunks behind a position; where there is none, it reaches no further than that."""
    return await _SPAN(conn, batch_id=batch_id, after=after, limit=limit)


async def find_missing(conn: Connection, batch_id: int, *, after: int, until: int) -> list[MissingCopy]:
    """Who of the chunks behind one position, up to another, lacks what was delivered."""
    return await _FIND(conn, batch_id=batch_id, after=after, until=until)


async def keep_merges_out(conn: Connection) -> None:
    """Until the end of the transaction no accounts are merged; waits for a merge that is under way."""
    await _KEEP_MERGES_OUT(conn)


async def read_missing(conn: Connection, batch_id: int, missing: Sequence[MissingCopy]) -> PendingChunk:
    """Copies of one chunk that is there, as if they were one that is still to be delivered."""
    position = missing[0].position
    whole = pending_chunk(batch_id, position, await _READ(conn, batch_id=batch_id, position=position))
    return replace(whole, first_id=missing[0].message_id, recipients=[copy.user_id for copy in missing])


async def restore_copies(
    conn: Connection,
    batch_id: int,
    position: int,
    missing: Sequence[MissingCopy],
    *,
    tag_sets: Sequence[int],
    own_tag_sets: Sequence[int],
    sender_tag_sets: Sequence[int],
    cause: Cause | None,
) -> None:
    """Writes what these copies of one chunk lack; the tag sets run parallel to them, or one number stands for all.

    Without a ``cause`` no event is recorded. Raises asyncpg.UniqueViolationError or DeadlockDetectedError after a
    conflict with a send: roll back, run again.
    """
    count = len(missing)
    metadata, traceparent = cause_columns(cause)
    await _RESTORE(
        conn,
        batch_id=batch_id,
        position=position,
        user_ids=[copy.user_id for copy in missing],
        message_ids=[copy.message_id for copy in missing],
        conversation_ids=[copy.conversation_id for copy in missing],
        anew=[copy.anew for copy in missing],
        tag_sets=_parallel(tag_sets, count),
        own_tag_sets=_parallel(own_tag_sets, count),
        sender_tag_sets=_parallel(sender_tag_sets, count),
        cause=metadata,
        traceparent=traceparent,
    )


def _parallel(numbers: Sequence[int], count: int) -> list[int]:
    return [*numbers] * count if len(numbers) == 1 else [*numbers]


async def show_restored(conn: Connection, author_id: int, missing: Sequence[MissingCopy]) -> None:
    """After restore_copies: the rows of recipients and author count and show what is there now."""
    await _SHOW(
        conn,
        conversation_ids=[copy.conversation_id for copy in missing] * 2,
        user_ids=[copy.user_id for copy in missing] + [author_id] * len(missing),
        arrives=[copy.anew and copy.user_id != author_id for copy in missing] + [False] * len(missing),
    )


async def pass_audit(conn: Connection, batch_id: int, *, position: int, recipients: int, missing: int) -> None:
    """Notes that chunks up to the position are done."""
    await _PASS(conn, batch_id=batch_id, position=position, compared=recipients, missing=missing)


async def lock_ended_batch(conn: Connection, batch_id: int, ended_at: datetime) -> bool:
    """Keeps a batch at that end until the transaction's; False when it goes on already."""
    return await _LOCK(conn, batch_id=batch_id, ended_at=ended_at) is not None


async def recount_batch(conn: Connection, batch_id: int) -> Recount:
    """Sets the counters of a locked batch right where its recipients add up to its total."""
    return await _RECOUNT(conn, batch_id=batch_id)


async def finish_audit(conn: Connection, batch_id: int, ended_at: datetime) -> None:
    """That end is audited; a batch that has gone on is audited at its next one."""
    await _FINISH(conn, batch_id=batch_id, ended_at=ended_at)


async def postpone_audit(conn: Connection, batch_id: int, *, error: str, wait: timedelta) -> None:
    """Tries it again later."""
    await _POSTPONE(conn, batch_id=batch_id, error=error, wait=wait)


async def audit_lag(conn: Connection) -> float:
    """Seconds since the first end of a batch that is not audited; 0 when there is none."""
    return await _LAG(conn)
