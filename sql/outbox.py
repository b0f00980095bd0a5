"""The transactional outbox: what other statements write into it, and what a relay takes out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from service.domain.event_metadata import Cause
from service.domain.outbox import BatchEventRow, BulkCopies, FirstMessages, MessagesRow
from sql.connection import Connection
from sql.statements import Command, Many, Value

# The first number of a lane's advisory lock, the second is the lane. Any constant will do that no other lock has.
_LANES = 7_206_110

# As the migration of the outbox has them: lanes of conversations, and behind them the one of batches.
BATCH_LANE = 16
LANES = range(BATCH_LANE + 1)


@dataclass(frozen=True, slots=True)
class Unroutable:
    """Events of one name that were published and that no queue took."""

    event: str
    count: int
    first_at: datetime
    last_at: datetime


class TakenRow(NamedTuple):
    """A row of the outbox: of a batch if it has a body, else of messages, ``copies`` first ones or pairs of ids."""

    lane: int
    id: int
    event: str
    recorded_at: datetime
    author_id: int
    created_at: datetime
    first_id: int | None
    copies: int
    conversation_ids: list[int]
    message_ids: list[int]
    body: str | None
    moves: int | None
    traceparent: str | None
    batch_id: int | None
    chunk_first_id: int | None
    recipients: list[int] | None
    cause: str

    def content(self) -> MessagesRow | BatchEventRow:
        """The row as service.domain.outbox takes it."""
        cause = Cause(orjson.loads(self.cause), self.traceparent)
        if self.body is not None:
            return BatchEventRow(self.event, self.recorded_at, cause, orjson.loads(self.body), self.moves or 0)
        return MessagesRow(
            self.event, self.recorded_at, cause, self.author_id, self.created_at, self._pairs(), self._copies()
        )

    def _copies(self) -> BulkCopies | None:
        if self.batch_id is None:
            return None
        return BulkCopies(self.batch_id, self.chunk_first_id or 0, self.recipients or ())

    def _pairs(self) -> Sequence[tuple[int, int]]:
        if self.first_id is not None:
            return FirstMessages(self.first_id, self.copies)
        return list(zip(self.conversation_ids, self.message_ids, strict=True))


@dataclass(frozen=True, slots=True)
class Taken:
    """The oldest rows of one lane, in order."""

    lane: int
    rows: Sequence[MessagesRow | BatchEventRow]


_STILL = timedelta(seconds=3)  # a bulk send of which nothing was written for so long is not being written now
_TAKE = Many("take_events", TakenRow)
_LAG = Value[float]("outbox_lag")
_COUNT = Command("count_unroutable")
_UNROUTABLE = Many("unroutable_events", Unroutable)


def cause_columns(cause: Cause | None) -> tuple[str | None, str | None]:
    """Values of ``cause`` and ``traceparent``; without a cause both are null, and the statement writes no row."""
    if cause is None:
        return None, None
    return orjson.dumps(dict(cause.metadata)).decode(), cause.traceparent


async def take_events(
    conn: Connection,
    *,
    patience: timedelta,
    copies: int,
    rows: int,
    resting: Collection[int] = (),
    doubtful: Collection[int] = (),
) -> Taken | None:
    """Takes the oldest rows of one lane that is not ``resting``; they return unless the transaction commits.

    The lane that waits longest, one that is not ``doubtful`` if there is any.

    None: there is no row, other relays have the lanes, or it is too early. ``patience``: age of a row while a bulk
    send is being written. ``copies``: messages they stand for, at most one row's more. ``rows``: how many rows at most.
    """
    taken = await _TAKE(
        conn,
        patience=patience,
        lock_class=_LANES,
        still=_STILL,
        max_copies=copies,
        max_rows=rows,
        resting=list(resting),
        doubtful=list(doubtful),
    )
    if not taken:
        return None
    return Taken(taken[0].lane, [row.content() for row in sorted(taken, key=lambda row: row.id)])


async def outbox_lag(conn: Connection) -> float:
    """Age in seconds of the oldest event that is not published; 0 when there is none."""
    return await _LAG(conn)


async def count_unroutable(conn: Connection, counts: Mapping[str, int]) -> None:
    """Adds to the numbers of events, by name, that no queue took."""
    await _COUNT(conn, events=list(counts), counts=list(counts.values()))


async def unroutable_events(conn: Connection) -> list[Unroutable]:
    """By name."""
    return await _UNROUTABLE(conn)
