"""What waits longer than it should, straight from the tables."""

from datetime import timedelta
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Many, Single


class StuckBatch(NamedTuple):
    """A batch that has stood still for so many seconds; ``why``: the last error of a chunk or of its start, if any."""

    id: int
    sender_id: int
    state: str
    total: int
    done: int
    stuck_for: float
    why: str


class Stuck(NamedTuple):
    """How much is stuck: batches that are sending, scheduled or cancelled; replies; batch updates; lanes of events."""

    sending: int
    scheduled: int
    cancelled: int
    replies: int
    updates: int
    events: int


_BATCHES = Many("stuck_batches", StuckBatch)
_COUNT = Single("count_stuck", Stuck)


async def stuck_batches(conn: Connection, *, retry_after: timedelta) -> list[StuckBatch]:
    """The one that stands still for longest first; how long that may be says sql/schema/08_stuck.sql."""
    return await _BATCHES(conn, retry_after=retry_after)


async def count_stuck(conn: Connection, *, retry_after: timedelta) -> Stuck:
    """By the same measure."""
    return await _COUNT(conn, retry_after=retry_after)
