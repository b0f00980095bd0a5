"""How far a streaming replica has come."""

from sql.connection import Connection
from sql.statements import Value

_FLUSHED = Value[int]("flushed_position")
_REPLAYED = Value[int | None]("replayed_position")


async def flushed_position(conn: Connection) -> int:
    """Bytes of the primary's log up to which all is there that was committed before."""
    return await _FLUSHED(conn)


async def replayed_position(conn: Connection) -> int | None:
    """Bytes of the primary's log that the replica shows; None of a server that is no replica."""
    return await _REPLAYED(conn)
