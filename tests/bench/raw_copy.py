"""Baseline: raw binary COPY of the very rows that a send left, into indexed clones, on one connection."""

from io import BytesIO
from time import perf_counter

import asyncpg

from tests.bench.place import settle

# Threads of the send, in the order of their ids: the best that COPY can be given.
_ROWS = {
    "conversations": "SELECT t.* FROM conversations t WHERE t.send_id = $1 ORDER BY t.id",
    "participants": "SELECT t.* FROM participants t JOIN conversations c ON c.id = t.conversation_id"
    " WHERE c.send_id = $1 ORDER BY t.conversation_id, t.user_id",
}


async def copy_seconds(conn: asyncpg.Connection, send_id: int) -> float:
    """Seconds from BEGIN to the end of COMMIT; reading the rows out is not counted."""
    dumps: dict[str, BytesIO] = {}
    for table, query in _ROWS.items():
        dumps[table] = BytesIO()
        await conn.copy_from_query(query, send_id, output=dumps[table], format="binary")
        dumps[table].seek(0)
        await _clone(conn, table)
    await settle(conn)
    start = perf_counter()
    async with conn.transaction():
        for table, dump in dumps.items():
            await conn.copy_to_table(f"{table}_clone", source=dump, format="binary")
    seconds = perf_counter() - start
    for table in _ROWS:
        await conn.execute(f"DROP TABLE {table}_clone")
    return seconds


async def _clone(conn: asyncpg.Connection, table: str) -> None:
    """LIKE copies indexes and constraints, but not the fill factor."""
    await conn.execute(f"CREATE TABLE {table}_clone (LIKE {table} INCLUDING ALL)")
    for option in await conn.fetchval("SELECT reloptions FROM pg_class WHERE oid = $1::text::regclass", table) or ():
        await conn.execute(f"ALTER TABLE {table}_clone SET ({option})")
