"""The transactional outbox: what other statements write into it, and what a relay takes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import asyncpg
import orjson

from service.domain.event_metadata import Cause
from service.domain.events import Copies, FirstMessages, OfBatch
from sql.connection import Connection
from sql.statements import text_of

_RECORD = text_of("record_messages")
_TAKE = text_of("take_events")
_COUNT = text_of("count_unroutable")
_UNROUTABLE = text_of("unroutable_events")

# The first number of a lane's advisory lock, the second is the lane. Any constant will do that nobody else uses.
_LANES = 7_206_110


@dataclass(frozen=True, slots=True)
class Unroutable:
    """Events of one name that were published and wanted by no queue."""

    event: str
    count: int
    first_at: datetime
    last_at: datetime


def cause_columns(cause: Cause | None) -> tuple[str | None, str | None]:
    """Values of ``cause`` and ``traceparent``; without a cause both are null, and the statement writes no row."""
    if cause is None:
        return None, None
    return orjson.dumps(dict(cause.metadata)).decode(), cause.traceparent


async def record_message(
    conn: Connection,
    cause: Cause | None,
    *,
    event: Literal["delivered", "forwarded"],
    author_id: int,
    created_at: datetime,
    conversation_id: int,
    message_id: int,
) -> None:
    """Tells of a message: ``forwarded`` when people joined by it. Without a cause it tells nothing.

    The transaction has locked the conversation, or opened it by this message; then the two ids are equal.
    """
    if cause is not None:
        metadata, traceparent = cause_columns(cause)
        await conn.execute(
            _RECORD, event, author_id, created_at, [conversation_id], [message_id], metadata, traceparent
        )


async def take_events(conn: Connection, *, patience: timedelta, copies: int, rows: int) -> list[Copies | OfBatch]:
    """Takes the oldest rows of one lane, in order; they return unless the transaction commits.

    Empty: nothing is there, or others are at it, or it is too early. ``patience``: age of a row while a bulk send is
    being written. ``copies``: messages they stand for, at most one row's more. ``rows``: how many rows at most.
    """
    found = await conn.fetch(_TAKE, patience, _LANES, copies, rows)
    return [_told(row) for row in sorted(found, key=lambda row: row["id"])]


def _told(row: asyncpg.Record) -> Copies | OfBatch:
    cause = Cause(orjson.loads(row["cause"]), row["traceparent"])
    if row["body"] is not None:
        return OfBatch(row["event"], row["recorded_at"], cause, orjson.loads(row["body"]))
    return Copies(row["event"], row["recorded_at"], cause, row["author_id"], row["created_at"], _pairs(row))


def _pairs(row: asyncpg.Record) -> Sequence[tuple[int, int]]:
    if row["first_id"] is not None:
        return FirstMessages(row["first_id"], row["copies"])
    return list(zip(row["conversation_ids"], row["message_ids"], strict=True))


async def count_unroutable(conn: Connection, counts: Mapping[str, int]) -> None:
    """Notes how many events of which names were wanted by no queue."""
    await conn.execute(_COUNT, list(counts), list(counts.values()))


async def unroutable_events(conn: Connection) -> list[Unroutable]:
    """By name."""
    return [Unroutable(*row) for row in await conn.fetch(_UNROUTABLE)]
