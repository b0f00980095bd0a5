"""Batches: bulk sends and their counters."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from service.domain.batch import BatchState, Progress
from sql.arrays import array_text
from sql.connection import Connection
from sql.statements import Many, One, Single, Value


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as its sender may see it."""

    id: int
    send_id: int
    message_id: int
    tags: tuple[str, ...]
    progress: Progress
    seen_at: datetime  # by the clock of its other times
    error: str | None  # why it ended in error as a whole
    forgotten: bool = False  # who its recipients were is not known any more


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
    traceparent: str | None = None  # of the request
    members_of_course: int | None = None  # all recipients are current members, and the only tag is the course
    audiences: Sequence[str] = ()  # codes of recipients that name more than one person
    from_conversation_id: int | None = None  # its participants may be written to


class BatchRow(NamedTuple):
    """What a sender may see of a row of batches."""

    id: int
    send_id: int
    message_id: int
    tags: list[str]
    state: str
    total: int
    delivered: int
    failed: int
    skipped: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    send_at: datetime | None
    error: str | None
    rate: float | None
    seen_at: datetime
    forgotten: bool

    def batch(self) -> Batch:
        """The batch of the row."""
        progress = Progress(
            state=BatchState(self.state),
            total=self.total,
            delivered=self.delivered,
            failed=self.failed,
            skipped=self.skipped,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            send_at=self.send_at,
            error=self.error,
            rate=self.rate,
        )
        tags = tuple(self.tags)
        return Batch(self.id, self.send_id, self.message_id, tags, progress, self.seen_at, self.error, self.forgotten)


class InsertedBatch(NamedTuple):
    """A batch that was stored, and how many chunks it has; merged accounts among its recipients and its sender."""

    id: int
    chunks: int
    merged_user_ids: list[int]


_INSERT = Single("insert_batch", InsertedBatch)
_LIST = Many("list_batches", BatchRow)
_LIST_NEWEST = Many("list_newest_batches", BatchRow)
_COUNT = Value[int]("count_batches")
_FIND = One("find_batch", BatchRow)


async def insert_batch(conn: Connection, batch: NewBatch) -> InsertedBatch:
    """Stores a batch and its chunks. No account is merged from then on until the transaction ends."""
    return await _INSERT(
        conn,
        send_id=batch.send_id,
        sender_id=batch.sender_id,
        tags=batch.tags,
        user_note=batch.user_note,
        recipients=array_text(batch.recipients),
        created_at=batch.created_at,
        chunk_size=batch.chunk_size,
        traceparent=batch.traceparent,
        members_of_course=batch.members_of_course,
        audiences=batch.audiences,
        from_conversation_id=batch.from_conversation_id,
    )


async def list_batches(
    conn: Connection,
    sender_id: int,
    states: Sequence[BatchState],
    *,
    accounts: Collection[int] | None = None,
    limit: int,
    offset: int,
    newest_first: bool = False,
) -> list[Batch]:
    """One page of the sender's batches in these states, oldest first unless asked otherwise.

    ``accounts``, here and below: only batches whose root accounts are all among them, and which have any.
    """
    page = _LIST_NEWEST if newest_first else _LIST
    rows = await page(
        conn, sender_id=sender_id, states=states, account_ids=_sorted(accounts), limit=limit, offset=offset
    )
    return [row.batch() for row in rows]


async def count_batches(
    conn: Connection, sender_id: int, states: Sequence[BatchState], *, accounts: Collection[int] | None = None
) -> int:
    """How many batches of the sender's are in these states."""
    return await _COUNT(conn, sender_id=sender_id, states=states, account_ids=_sorted(accounts))


async def find_batch(
    conn: Connection, batch_id: int, sender_id: int, *, accounts: Collection[int] | None = None
) -> Batch | None:
    """The sender's batch of that id, or None."""
    row = await _FIND(conn, batch_id=batch_id, sender_id=sender_id, account_ids=_sorted(accounts))
    return None if row is None else row.batch()


def _sorted(accounts: Collection[int] | None) -> list[int] | None:
    return None if accounts is None else sorted(accounts)
