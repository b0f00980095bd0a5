"""How punctual bulk sends are: each is measured once, when it has ended, and counted by its day."""

from datetime import timedelta
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Many


class EndedBatch(NamedTuple):
    """One that has ended, in seconds: from when it could begin to the last inbox, from its first delivery to its end.

    None where nothing was delivered. ``moved``: it was paused, cancelled or tried again on the way.
    """

    state: str
    moved: bool
    to_last_inbox: float | None
    duration: float | None


class PunctualDay(NamedTuple):
    """Bulk sends of a day, by UTC, that went through in one go; ``in_time`` of their recipients had it in time."""

    day: str
    batches: int
    recipients: int
    in_time: int
    today: bool


_MEASURE = Many("measure_ended", EndedBatch)
_DAYS = Many("punctual_days", PunctualDay)


async def measure_ended(conn: Connection, *, in_time: timedelta, limit: int) -> list[EndedBatch]:
    """Measures batches that have ended since the last time, so many at most, and counts them by their day."""
    return await _MEASURE(conn, in_time=in_time, limit=limit)


async def punctual_days(conn: Connection) -> list[PunctualDay]:
    """Today and yesterday, as far as there is something to say of them."""
    return await _DAYS(conn)
