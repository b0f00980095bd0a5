"""How far a streaming replica has come."""

from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Value

_FLUSHED = Value[list[int]]("flushed_position")
_REPLAYED = Value[list[int] | None]("replayed_position")


class LogPosition(NamedTuple):
    """Bytes of the log. A server that takes the place of the primary begins another timeline: only on the same one does
    it say anything that a server has as many bytes.
    """

    timeline: int
    bytes: int


async def flushed_position(conn: Connection) -> LogPosition:
    """Up to where all is there in the primary's log that was committed before."""
    return LogPosition(*await _FLUSHED(conn))


async def replayed_position(conn: Connection) -> LogPosition | None:
    """Up to where the replica shows a log; None of a server that is no replica."""
    shown = await _REPLAYED(conn)
    return None if shown is None else LogPosition(*shown)
