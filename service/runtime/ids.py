"""Conversation and message ids, taken from the database in blocks so that a row costs no round trip."""

import asyncio

from sql import ids
from sql.connection import Connection

BLOCK = 2000  # ids behind one nextval of id_blocks; the sequence's increment


class IdBlocks:
    """Hands out ids of this process's current block. An id taken and not used is simply never used."""

    def __init__(self) -> None:
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def take(self, conn: Connection, count: int) -> int:
        """First of ``count`` (1..BLOCK) consecutive ids."""
        async with self._lock:
            if self._next + count > self._end:
                self._next = await ids.next_block(conn)
                self._end = self._next + BLOCK
            first = self._next
            self._next += count
            return first
