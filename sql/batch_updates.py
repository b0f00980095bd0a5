"""Batch updates and how far they are (canvas/semantics.md 10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from service.domain.batch_updates import ProgressState
from service.domain.participant import Event
from sql.attempts import Redelivery
from sql.connection import Connection
from sql.statements import Command, One, Value, text_of

_INSERT = text_of("insert_progress")
_FIND = text_of("find_progress")
_CANCEL = text_of("cancel_progress")
_CLAIM = text_of("claim_progress")
_FINISH = text_of("finish_progress")
_POSTPONE = Value[int | None]("postpone_progress")
_FAIL = Command("fail_progress")
_COUNT_REDELIVERY = One("count_progress_redelivery", Redelivery)
_TAKE_DUE = text_of("take_due_progresses")


@dataclass(frozen=True, slots=True)
class Progress:
    """One batch update. ``conversation_ids`` as they were sent, whatever they are; ``refused`` positions in them."""

    id: int
    user_id: int
    event: Event
    conversation_ids: Sequence[str]
    state: ProgressState
    done: int
    refused: Sequence[int]
    message: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def total(self) -> int:
        """How many conversations were asked for, repeats included."""
        return len(self.conversation_ids)


def _progress(row: asyncpg.Record) -> Progress:
    return Progress(
        id=row["id"],
        user_id=row["user_id"],
        event=Event(row["event"]),
        conversation_ids=row["conversation_ids"],
        state=ProgressState(row["state"]),
        done=row["done"],
        refused=row["refused"],
        message=row["message"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def insert_progress(
    conn: Connection,
    *,
    user_id: int,
    event: Event,
    conversation_ids: Sequence[str],
    now: datetime,
    due_at: datetime,
    traceparent: str | None = None,
) -> Progress:
    """Stores what was asked; the sweeper comes for it at ``due_at``, should nobody have begun."""
    row = await conn.fetchrow(_INSERT, user_id, event, conversation_ids, now, due_at, traceparent)
    assert row is not None  # noqa: S101 - RETURNING after an insert of one row
    return _progress(row)


async def find_progress(conn: Connection, progress_id: int) -> Progress | None:
    """A progress, whosever it is."""
    row = await conn.fetchrow(_FIND, progress_id)
    return _progress(row) if row else None


async def cancel_progress(conn: Connection, progress_id: int, message: str | None, *, now: datetime) -> Progress | None:
    """Fails it with the message; if nobody has begun it yet, nobody will."""
    row = await conn.fetchrow(_CANCEL, progress_id, message, now)
    return _progress(row) if row else None


async def claim_progress(conn: Connection, progress_id: int) -> Progress | None:
    """Locks an unfinished one until the transaction ends; None when it is finished, cancelled or unknown."""
    row = await conn.fetchrow(_CLAIM, progress_id)
    return _progress(row) if row else None


async def finish_progress(
    conn: Connection,
    progress_id: int,
    *,
    done: int,
    refused: Sequence[int],
    state: ProgressState,
    message: str,
    now: datetime,
) -> None:
    """Notes the end of a claimed one; ``refused`` are positions in what was asked for."""
    await conn.execute(_FINISH, progress_id, done, refused, state, message, now)


async def postpone_progress(
    conn: Connection, progress_id: int, *, error: str, now: datetime, first_wait: timedelta
) -> int | None:
    """Notes a failed attempt; returns how many there were, None when it does not count (any more)."""
    return await _POSTPONE(conn, progress_id=progress_id, error=error, now=now, first_wait=first_wait)


async def fail_progress(conn: Connection, progress_id: int, *, error: str, message: str, now: datetime) -> None:
    """Gives an unfinished one up; ``message`` is what its user reads."""
    await _FAIL(conn, progress_id=progress_id, error=error, message=message, now=now)


async def count_redelivery(conn: Connection, progress_id: int) -> Redelivery | None:
    """Notes that the command of an update came back unsettled; None when there is no such update."""
    return await _COUNT_REDELIVERY(conn, progress_id=progress_id)


async def take_due_progresses(
    conn: Connection, *, now: datetime, due_at: datetime, limit: int
) -> list[tuple[int, str | None]]:
    """(id, traceparent) of unfinished ones that nobody has been at in time, now due again at ``due_at``."""
    return [(row["id"], row["traceparent"]) for row in await conn.fetch(_TAKE_DUE, now, due_at, limit)]
