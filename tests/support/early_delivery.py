"""What tests of messages that are seen in time have in common."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

Token = Callable[..., Awaitable[dict[str, str]]]
Read = Callable[[int], Awaitable[str]]
SendToAll = Callable[..., Awaitable[int]]

# Whether any session of the server waits for another one's lock.
BLOCKED = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0)"


async def states(conn: asyncpg.Connection) -> list[str]:
    """Of all chunks, in order."""
    return [row["state"] for row in await conn.fetch("SELECT state FROM chunks ORDER BY batch_id, position")]


@asynccontextmanager
async def held(url: str, statement: str) -> AsyncIterator[None]:
    """What the statement locks is locked meanwhile."""
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute(statement)
            yield
    finally:
        await holder.close()
