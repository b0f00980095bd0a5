"""Databases for tests. Making and dropping one costs the server a checkpoint, so each is emptied and lent again."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from sql import migrate
from tests.support.ledger import new_database

# As in Clarion's own sessions (service/runtime/postgres.py): after a test with many rows PostgreSQL believes that the
# next one has them too, and would spend seconds on compiling statements that take milliseconds.
SESSION = {"jit": "off", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
_KEPT = "kept by tests"  # the application_name of connections that outlive a test

_TEMPLATE_LOCK = 7_206_110_512_005

_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> $1
"""
_TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname NOT IN ('schema_migrations', 'schema_definitions', 'tag_sets')
ORDER BY relname
"""


def server_url() -> str:
    """DSN by which databases are created."""
    return os.environ["CLARION_DATABASE_URL"]


def with_database(url: str, name: str) -> str:
    """The DSN with another database."""
    base, _, query = url.partition("?")
    return base.rsplit("/", 1)[0] + "/" + name + ("?" + query if query else "")


def with_port(url: str, port: int) -> str:
    """The DSN with this port of the loopback instead of the server's own."""
    parts = urlsplit(url)
    account, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{port}"))


def with_host(url: str, hosts: str) -> str:
    """The DSN with these hosts; its own stands where they have ``{}``."""
    parts = urlsplit(url)
    account, at, own = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{account}{at}{hosts.format(own)}"))


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
async def empty_database() -> AsyncIterator[str]:
    """DSN of a database without any table, dropped at the end."""
    name = new_database()
    admin = await asyncpg.connect(server_url())
    await admin.execute(f'CREATE DATABASE "{name}"')
    try:
        yield with_database(server_url(), name)
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


@asynccontextmanager
async def fresh_database() -> AsyncIterator[str]:
    """DSN of a migrated database that nothing has been written to, dropped at the end."""
    name = new_database()
    admin = await asyncpg.connect(server_url())
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{await _template()}"')
    try:
        yield with_database(server_url(), name)
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


async def empty(conn: asyncpg.Connection) -> None:
    """Deletes all but what the migrations put in themselves.

    Test data is small: DELETE is far quicker then than TRUNCATE, and looking where rows are is quicker than deleting
    none, which sets off triggers.
    """
    tables = [row["relname"] for row in await conn.fetch(_TABLES)]
    looked_at = ", ".join(f"('{table}', EXISTS (SELECT FROM {table}))" for table in tables)
    filled = await conn.fetch(f"SELECT name FROM (VALUES {looked_at}) AS t(name, filled) WHERE filled")
    deletions = [f"DELETE FROM {row['name']}" for row in filled]
    await conn.execute("; ".join(["DELETE FROM tag_sets WHERE id <> 0", *deletions]))


class Databases:
    """The databases of one test process: lent to one test at a time, dropped at the end of the run.

    Each has a connection and a pool that are kept: new ones would plan every statement and trigger anew for each test.
    """

    def __init__(self) -> None:
        self._free: list[str] = []
        self._connections: dict[str, asyncpg.Connection] = {}  # by database
        self._pools: dict[str, asyncpg.Pool] = {}  # by database
        self._admin: asyncpg.Connection | None = None

    async def borrow(self) -> str:
        """Name of a migrated database without rows."""
        return self._free.pop() if self._free else await self._make()

    async def connection(self, name: str) -> asyncpg.Connection:
        """The kept connection to a database, as good as new for each test."""
        found = self._connections.get(name)
        if found is None or found.is_closed():
            found = await asyncpg.connect(with_database(server_url(), name), server_settings=SESSION)
            self._connections[name] = found
        return found

    async def pool(self, name: str) -> asyncpg.Pool:
        """The kept pool on a database, as good as new for each test."""
        found = self._pools.get(name)
        if found is None:
            found = self._pools[name] = await asyncpg.create_pool(
                with_database(server_url(), name),
                min_size=0,
                max_size=8,
                max_inactive_connection_lifetime=0,
                server_settings=SESSION | {"application_name": _KEPT},
            )
        return found

    async def give_back(self, name: str) -> None:
        """Ends whatever the test left connected, and empties the database for the next one."""
        conn = await self.connection(name)
        await conn.reset()
        await self._give_up_used(name)
        await conn.execute(_END_OTHERS, _KEPT if name in self._pools else "")
        await empty(conn)
        self._free.append(name)

    async def _give_up_used(self, name: str) -> None:
        """A pool that a test has closed, or has not given everything back to, is no one else's."""
        pool = self._pools.get(name)
        if pool is not None and (pool.is_closing() or pool.get_idle_size() < pool.get_size()):
            pool.terminate()
            del self._pools[name]

    async def drop_all(self) -> None:
        """At the end of the run."""
        for name, conn in self._connections.items():
            if name in self._pools:
                await self._pools[name].close()
            await conn.close()
            assert self._admin is not None
            await self._admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        if self._admin is not None:
            await self._admin.close()

    async def _make(self) -> str:
        name = new_database()
        if self._admin is None:
            self._admin = await asyncpg.connect(server_url())
        await self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{await _template()}"')
        # No test of these databases is about what survives the server's own death, so no commit waits for the disk.
        await self._admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        await self.connection(name)
        return name
