"""Id blocks."""

from sql.connection import Connection
from sql.statements import Value

_NEXT_BLOCK = Value[int]("next_block")


async def next_block(conn: Connection) -> int:
    """First id of a fresh block of 2000."""
    return await _NEXT_BLOCK(conn)
