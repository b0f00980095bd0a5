"""Batch updates and how far they are (canvas/semantics.md 10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from service.domain.batch_updates import ProgressState
from service.domain.participant import Event
from sql.attempts import Redelivery
from sql.connection import Connection
from sql.statements import Command, Many, One, Single, Value


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


class ProgressRow(NamedTuple):
    """A stored batch update."""

    id: int
    user_id: int
    event: str
    conversation_ids: list[str]
    state: str
    done: int
    refused: list[int]
    message: str | None
    created_at: datetime
    updated_at: datetime

    def progress(self) -> Progress:
        """The batch update of the row."""
        return Progress(
            id=self.id,
            user_id=self.user_id,
            event=Event(self.event),
            conversation_ids=self.conversation_ids,
            state=ProgressState(self.state),
            done=self.done,
            refused=self.refused,
            message=self.message,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class DueProgress(NamedTuple):
    """An unfinished batch update to publish again, and the trace of the request that asked for it."""

    id: int
    traceparent: str | None


class FoundProgress(NamedTuple):
    """A batch update that a dead letter names, with the state in which it was found; null: there is none."""

    id: int
    state: str | None
    given_up: bool


_INSERT = Single("insert_progress", ProgressRow)
_FIND = One("find_progress", ProgressRow)
_CANCEL = One("cancel_progress", ProgressRow)
_CLAIM = One("claim_progress", ProgressRow)
_FINISH = Command("finish_progress")
_POSTPONE = Value[int | None]("postpone_progress")
_FAIL = Command("fail_progress")
_FORGIVE = Command("forgive_progress_redelivery")
_DEFER = Command("defer_progress")
_REVIVE = Many("revive_progresses", FoundProgress)
_COUNT_REDELIVERY = One("count_progress_redelivery", Redelivery)
_TAKE_DUE = Many("take_due_progresses", DueProgress)


async def insert_progress(
    conn: Connection,
    *,
    user_id: int,
    event: Event,
    conversation_ids: Sequence[str],
    patience: timedelta,
    refused: Sequence[int] = (),
    traceparent: str | None = None,
) -> Progress:
    """Stores an update; the sweeper publishes its command after ``patience`` unless it is done by then.

    ``refused``: positions of the conversations that will not be touched.
    """
    row = await _INSERT(
        conn,
        user_id=user_id,
        event=event,
        conversation_ids=conversation_ids,
        refused=refused,
        patience=patience,
        traceparent=traceparent,
    )
    return row.progress()


async def find_progress(conn: Connection, progress_id: int) -> Progress | None:
    """A progress of any user, or None."""
    row = await _FIND(conn, progress_id=progress_id)
    return row.progress() if row else None


async def cancel_progress(conn: Connection, progress_id: int, message: str | None) -> Progress | None:
    """Fails it with the message; a worker that has not begun it yet never will."""
    row = await _CANCEL(conn, progress_id=progress_id, message=message)
    return row.progress() if row else None


async def claim_progress(conn: Connection, progress_id: int) -> Progress | None:
    """Locks an unfinished one until the transaction ends; None when it is finished, cancelled or unknown."""
    row = await _CLAIM(conn, progress_id=progress_id)
    return row.progress() if row else None


async def finish_progress(
    conn: Connection,
    progress_id: int,
    *,
    done: int,
    refused: Sequence[int],
    state: ProgressState,
    message: str,
) -> None:
    """Finishes a claimed one; ``refused`` are positions in what was asked for."""
    await _FINISH(conn, progress_id=progress_id, done=done, refused=refused, state=state, message=message)


async def postpone_progress(conn: Connection, progress_id: int, *, error: str, first_wait: timedelta) -> int | None:
    """Notes a failed attempt; returns how many there were, None when it does not count (any more)."""
    return await _POSTPONE(conn, progress_id=progress_id, error=error, first_wait=first_wait)


async def fail_progress(conn: Connection, progress_id: int, *, error: str, message: str) -> None:
    """Gives an unfinished one up; ``message`` is what its user reads."""
    await _FAIL(conn, progress_id=progress_id, error=error, message=message)


async def count_progress_redelivery(conn: Connection, progress_id: int) -> Redelivery | None:
    """Notes that the command of an update came back unsettled; None when there is no such update."""
    return await _COUNT_REDELIVERY(conn, progress_id=progress_id)


async def take_due_progresses(conn: Connection, *, patience: timedelta, limit: int) -> list[DueProgress]:
    """Unfinished ones whose time has come, due again after ``patience``."""
    return await _TAKE_DUE(conn, patience=patience, limit=limit)


async def forgive_progress_redelivery(conn: Connection, progress_id: int) -> None:
    """Takes one noted redelivery back."""
    await _FORGIVE(conn, progress_id=progress_id)


async def defer_progress(conn: Connection, progress_id: int, *, wait: timedelta) -> None:
    """Makes an unfinished update that no transaction has locked due after the wait, unless it is earlier."""
    await _DEFER(conn, progress_id=progress_id, wait=wait)


async def revive_progresses(
    conn: Connection, progress_ids: Sequence[int], *, due_after: timedelta
) -> list[FoundProgress]:
    """Queues those of the updates again that were given up; returns how each was found."""
    return await _REVIVE(conn, progress_ids=progress_ids, due_after=due_after)
