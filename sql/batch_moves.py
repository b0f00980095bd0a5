"""Moves of a batch: cancel, pause, resume, retry (CONTRACT 3.1), and what a cancel leaves to be settled."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.batch import BatchState
from service.domain.event_metadata import Cause
from sql.connection import Connection
from sql.outbox import cause_columns
from sql.statements import Command, One, Value


class RetriedRow(NamedTuple):
    """A batch that goes on: how often it was moved, and the positions of its chunks that are pending again."""

    moves: int
    positions: list[int]


_PAUSE = Value[int | None]("pause_batch")
_RESUME = Value[int | None]("resume_batch")
_CANCEL = Value[int | None]("cancel_batch")
_RETRY = One("retry_batch", RetriedRow)
_LOCK_UNSETTLED = Command("lock_unsettled_chunks")
_SETTLE = Value[int]("settle_cancelled")


async def pause_batch(conn: Connection, batch_id: int, states: Sequence[BatchState], cause: Cause | None) -> bool:
    """Stops the batch if it is in one of the states; whether it was. Without a ``cause`` no event is recorded."""
    metadata, traceparent = cause_columns(cause)
    return await _PAUSE(conn, batch_id=batch_id, states=states, cause=metadata, traceparent=traceparent) is not None


async def resume_batch(conn: Connection, batch_id: int, states: Sequence[BatchState], cause: Cause | None) -> bool:
    """Lets the batch go on, as pause_batch stops it; its recipients are looked up again."""
    metadata, traceparent = cause_columns(cause)
    return await _RESUME(conn, batch_id=batch_id, states=states, cause=metadata, traceparent=traceparent) is not None


async def cancel_batch(conn: Connection, batch_id: int, states: Sequence[BatchState], cause: Cause | None) -> bool:
    """Ends the batch, as pause_batch stops it: all that is not in work is skipped."""
    metadata, traceparent = cause_columns(cause)
    return await _CANCEL(conn, batch_id=batch_id, states=states, cause=metadata, traceparent=traceparent) is not None


async def lock_unsettled_chunks(conn: Connection, batch_id: int) -> None:
    """Locks what is pending or has failed, having waited for what is in work."""
    await _LOCK_UNSETTLED(conn, batch_id=batch_id)


async def retry_batch(
    conn: Connection, batch_id: int, states: Sequence[BatchState], cause: Cause | None
) -> list[int] | None:
    """Brings those who failed back to work; positions of their chunks, None where the state does not allow it."""
    metadata, traceparent = cause_columns(cause)
    row = await _RETRY(conn, batch_id=batch_id, states=states, cause=metadata, traceparent=traceparent)
    return None if row is None else row.positions


async def settle_cancelled(
    conn: Connection, cause: Cause | None, *, batch_id: int | None = None, position: int | None = None
) -> int:
    """Skips what a cancel has left in work and has not ended: one chunk, or a batch's, or all; returns how many."""
    metadata, traceparent = cause_columns(cause)
    return await _SETTLE(conn, batch_id=batch_id, position=position, cause=metadata, traceparent=traceparent)
