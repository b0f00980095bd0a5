"""What the event streams of batches are made of: the batches as they are, and the notice that they have changed."""

from collections.abc import Collection

from sql.batches import Batch, BatchRow
from sql.connection import Connection
from sql.statements import Command, Many

CHANNEL = "clarion_batches"  # also in sql/queries/batch_events.sql and sql/schema/07_batch_events.sql; payload: an id

_WATCHED = Many("watched_batches", BatchRow)
_NOTIFY = Command("notify_of_batches")


async def watched_batches(conn: Connection, batch_ids: Collection[int]) -> list[Batch]:
    """The batches of these ids, whoever sent them, in no order; unknown ones are left out."""
    return [row.batch() for row in await _WATCHED(conn, batch_ids=sorted(batch_ids))]


async def notify_of_batches(conn: Connection, batch_ids: Collection[int]) -> None:
    """Every process that listens learns that these batches have changed. Not within the transaction that did it."""
    await _NOTIFY(conn, batch_ids=sorted(batch_ids))
