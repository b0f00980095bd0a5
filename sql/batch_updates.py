"""Batch updates and how far they are (canvas/semantics.md 10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import asyncpg

from service.domain.batch_updates import ProgressState
from service.domain.participant import Event
from sql.connection import Connection
from sql.statements import text_of

_INSERT = text_of("insert_progress")
_FIND = text_of("find_progress")
_CANCEL = text_of("cancel_progress")
_CLAIM = text_of("claim_progress")
_FINISH = text_of("finish_progress")
_POSTPONE = text_of("postpone_progress")
_HAND_OUT = text_of("hand_out_progress")
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
    conn: Connection, progress_id: int, *, error: str, now: datetime, first_wait: timedelta, max_attempts: int
) -> bool | None:
    """Notes a failed attempt; whether that was the last one, None when it does not count (any more)."""
    return cast("bool | None", await conn.fetchval(_POSTPONE, progress_id, error, now, first_wait, max_attempts))


async def hand_out_progress(
    conn: Connection, progress_id: int, *, max_hand_outs: int, error: str, now: datetime, max_attempts: int
) -> str | None:
    """Notes that a command came back without a verdict; returns why the update is given up, None when it is not."""
    return cast("str | None", await conn.fetchval(_HAND_OUT, progress_id, max_hand_outs, error, now, max_attempts))


async def take_due_progresses(
    conn: Connection, *, now: datetime, due_at: datetime, limit: int
) -> list[tuple[int, str | None]]:
    """(id, traceparent) of unfinished ones that nobody has been at in time, now due again at ``due_at``."""
    return [(row["id"], row["traceparent"]) for row in await conn.fetch(_TAKE_DUE, now, due_at, limit)]
