"""Id blocks."""

from typing import cast

from sql.connection import Connection
from sql.statements import text_of

_NEXT_BLOCK = text_of("next_block")


async def next_block(conn: Connection) -> int:
    """First id of a fresh block of 2000."""
    return cast(int, await conn.fetchval(_NEXT_BLOCK))
