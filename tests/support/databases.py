"""Databases for tests. Making and dropping one costs the server a checkpoint, so each is emptied and lent again."""

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from sql import migrate

_TEMPLATE_LOCK = 7_206_110_512_005

# All but what the migrations put in themselves. Test data is small: DELETE is far quicker then than TRUNCATE.
_EMPTY = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname NOT IN ('schema_migrations', 'schema_definitions', 'tag_sets')
    LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
    DELETE FROM tag_sets WHERE id <> 0;
END $$
"""


def server_url() -> str:
    """DSN by which databases are created."""
    return os.environ["CLARION_DATABASE_URL"]


def with_database(url: str, name: str) -> str:
    """The DSN with another database."""
    base, _, query = url.partition("?")
    return base.rsplit("/", 1)[0] + "/" + name + ("?" + query if query else "")


async def _template() -> str:
    """Name of a migrated database to clone; made once per set of migrations and definitions."""
    digest = hashlib.sha256(repr((migrate.available(), migrate.definitions())).encode()).hexdigest()[:12]
    name = f"clarion_template_{digest}"
    admin = await asyncpg.connect(server_url())
    try:
        await admin.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
        if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}_new"')
            await admin.execute(f'CREATE DATABASE "{name}_new"')
            conn = await asyncpg.connect(with_database(server_url(), f"{name}_new"))
            await migrate.migrate(conn)
            await conn.close()
            await admin.execute(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
    finally:
        await admin.close()
    return name


@asynccontextmanager
async def fresh_database() -> AsyncIterator[str]:
    """DSN of a migrated database that nothing has been written to, dropped at the end."""
    name = await _create()
    try:
        yield with_database(server_url(), name)
    finally:
        await _drop([name])


async def _create() -> str:
    name = f"clarion_test_{uuid.uuid4().hex[:12]}"
    template = await _template()
    admin = await asyncpg.connect(server_url())
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    await admin.close()
    return name


async def _drop(names: Sequence[str]) -> None:
    admin = await asyncpg.connect(server_url())
    for name in names:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


class Databases:
    """The databases of one test process: lent to one test at a time, dropped at the end of the run."""

    def __init__(self) -> None:
        self._free: list[str] = []
        self._made: list[str] = []

    async def borrow(self) -> str:
        """Name of a migrated database without rows."""
        if self._free:
            return self._free.pop()
        name = await _create()
        self._made.append(name)
        return name

    async def give_back(self, name: str) -> None:
        """Ends whatever the test left connected, and empties the database for the next one."""
        conn = await asyncpg.connect(with_database(server_url(), name), server_settings={"synchronous_commit": "off"})
        await conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await conn.execute(_EMPTY)
        await conn.close()
        self._free.append(name)

    def drop_all(self) -> None:
        """Called when no loop runs any more."""
        if self._made:
            asyncio.run(_drop(self._made))
