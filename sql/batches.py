"""Batches: bulk sends and their counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import asyncpg

from service.domain.batch import BatchState, Progress
from sql.arrays import array_text
from sql.connection import Connection
from sql.statements import text_of

_INSERT = text_of("insert_batch")
_LIST = text_of("list_batches")
_COUNT = text_of("count_batches")
_FIND = text_of("find_batch")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as its sender may see it."""

    id: int
    send_id: int
    message_id: int
    tags: tuple[str, ...]
    progress: Progress


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A bulk send that has been accepted; recipients in ascending order."""

    send_id: int
    sender_id: int
    tags: Sequence[str]
    user_note: bool
    recipients: Sequence[int]
    chunk_size: int
    created_at: datetime
    due_at: datetime  # the sweeper takes unplanned chunks from then on
    traceparent: str | None = None  # of the request
    members_of_course: int | None = None  # all recipients are current members, and the only tag is the course


def _batch(row: asyncpg.Record) -> Batch:
    return Batch(
        id=row["id"],
        send_id=row["send_id"],
        message_id=row["message_id"],
        tags=tuple(row["tags"]),
        progress=Progress(
            state=BatchState(row["state"]),
            total=row["total"],
            delivered=row["delivered"],
            failed=row["failed"],
            skipped=row["skipped"],
            created_at=row["created_at"],
            started_at=row["started_at"],
            finished_at=row["finished_at"],
        ),
    )


async def insert_batch(conn: Connection, batch: NewBatch) -> tuple[int, int]:
    """Stores a batch and its chunks; returns its id and how many chunks there are."""
    row = await conn.fetchrow(
        _INSERT,
        batch.send_id,
        batch.sender_id,
        batch.tags,
        batch.user_note,
        array_text(batch.recipients),
        batch.created_at,
        batch.chunk_size,
        batch.due_at,
        batch.traceparent,
        batch.members_of_course,
    )
    assert row is not None  # noqa: S101 - the statement inserts the row it selects
    return row["id"], row["chunks"]


async def list_batches(
    conn: Connection, sender_id: int, states: Sequence[BatchState], *, limit: int, offset: int
) -> list[Batch]:
    """One page of the sender's batches in these states, oldest first."""
    return [_batch(row) for row in await conn.fetch(_LIST, sender_id, states, limit, offset)]


async def count_batches(conn: Connection, sender_id: int, states: Sequence[BatchState]) -> int:
    """How many batches of the sender's are in these states."""
    return cast(int, await conn.fetchval(_COUNT, sender_id, states))


async def find_batch(conn: Connection, batch_id: int, sender_id: int) -> Batch | None:
    """The sender's batch of that id, or None."""
    row = await conn.fetchrow(_FIND, batch_id, sender_id)
    return _batch(row) if row else None
