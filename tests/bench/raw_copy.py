"""Baseline: raw binary COPY of the very rows that a send left, into indexed clones, on one connection."""

from io import BytesIO
from time import perf_counter

import asyncpg

from tests.bench.environment import settle

# All rows of a new private send, in the order of their keys: the best that COPY can be given.
_ROWS = {
    "sends": "SELECT * FROM sends WHERE id = $1",
    "batches": "SELECT * FROM batches WHERE send_id = $1",
    "chunks": "SELECT c.* FROM chunks c JOIN batches b ON b.id = c.batch_id WHERE b.send_id = $1 ORDER BY c.position",
    "conversations": "SELECT * FROM conversations WHERE send_id = $1 ORDER BY id",
    "participants": "SELECT p.* FROM participants p JOIN conversations c ON c.id = p.conversation_id"
    " WHERE c.send_id = $1 ORDER BY p.conversation_id, p.user_id",
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
