"""Baseline: raw binary COPY of the very rows that a send left, into indexed clones, on one connection."""

from io import BytesIO
from time import perf_counter

import asyncpg

from tests.bench.environment import settle

# All rows of a new private send, in the order of their keys: the best that COPY can be given.
_ROWS = {
    "sends": "FROM sends t WHERE t.id = $1",
    "batches": "FROM batches t WHERE t.send_id = $1",
    "chunks": "FROM chunks t JOIN batches b ON b.id = t.batch_id WHERE b.send_id = $1 ORDER BY t.position",
    "conversations": "FROM conversations t WHERE t.send_id = $1 ORDER BY t.id",
    "participants": "FROM participants t JOIN conversations c ON c.id = t.conversation_id"
    " WHERE c.send_id = $1 ORDER BY t.conversation_id, t.user_id",
}
# COPY takes no value for a column that PostgreSQL works out.
_COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


async def copy_seconds(conn: asyncpg.Connection, send_id: int) -> float:
    """Seconds from BEGIN to the end of COMMIT; reading the rows out is not counted."""
    dumps: dict[str, BytesIO] = {}
    columns: dict[str, list[str]] = {}
    for table, rows in _ROWS.items():
        dumps[table], columns[table] = BytesIO(), await conn.fetchval(_COLUMNS, table)
        query = f"SELECT {', '.join(f't.{column}' for column in columns[table])} {rows}"
        await conn.copy_from_query(query, send_id, output=dumps[table], format="binary")
        dumps[table].seek(0)
        await _clone(conn, table)
    await settle(conn)
    start = perf_counter()
    async with conn.transaction():
        for table, dump in dumps.items():
            await conn.copy_to_table(f"{table}_clone", source=dump, columns=columns[table], format="binary")
    seconds = perf_counter() - start
    for table in _ROWS:
        await conn.execute(f"DROP TABLE {table}_clone")
    return seconds


async def _clone(conn: asyncpg.Connection, table: str) -> None:
    """LIKE copies indexes and constraints, but not the fill factor."""
    await conn.execute(f"CREATE TABLE {table}_clone (LIKE {table} INCLUDING ALL)")
    for option in await conn.fetchval("SELECT reloptions FROM pg_class WHERE oid = $1::text::regclass", table) or ():
        await conn.execute(f"ALTER TABLE {table}_clone SET ({option})")
