"""Forward-only migrations, then the definitions of sql/schema; safe to run from many hosts at once."""

import asyncio
import functools
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources

import asyncpg

from sql.connection import Connection

# Of sql/schema: raised by each release that changes a text there (sql/schema/README.md).
REVISION = 4

# Any constant that is the same in every process that migrates this database.
_LOCK = 7_206_110_512_004
_RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS schema_definitions (file text PRIMARY KEY, digest text NOT NULL, revision integer NOT NULL);
"""
# What this code could need and the database may have: one row for each.
_PRESENT = """
SELECT version AS name, NULL AS digest, 0 AS revision FROM schema_migrations
UNION ALL
SELECT file, digest, revision FROM schema_definitions
"""
# A migration that waits for a table holds up all who come after it, so it does not wait for long, and comes again.
LOCK_TIMEOUT = 2.0  # seconds
PAUSE = 1.0  # seconds between two attempts
ATTEMPTS = 100

# Every release names its migrations like this; anything else is not of this line.
_VERSION = re.compile(r"\d{3}_\w+")


class ForeignSchemaError(Exception):
    """The database has other tables than those that these migrations make or go on from; the message is one line."""


def available() -> list[tuple[str, str]]:
    """(version, text) of every migration in the package, in order."""
    return _texts("migrations")


def definitions() -> list[tuple[str, str]]:
    """(file, text) of the functions, views and triggers in the package, in order."""
    return _texts("schema")


async def applied(conn: Connection) -> set[str]:
    """Versions already in the database; empty before the first migration."""
    if not await conn.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        return set()
    return {row["version"] for row in await conn.fetch("SELECT version FROM schema_migrations")}


async def missing(conn: Connection) -> list[str]:
    """The versions and the files of definitions that this code needs and the database lacks; ``clarion migrate`` helps.

    What a newer release has put there is no less than what this one needs: releases only add.
    """
    try:
        present = {row["name"]: row for row in await conn.fetch(_PRESENT)}
    except asyncpg.UndefinedTableError:
        present = {}
    newer = any(row["revision"] > REVISION for row in present.values())
    lacking = [version for version, _ in available() if version not in present]
    return lacking + [
        f"schema/{file}"
        for file, text in definitions()
        if not newer and (file not in present or present[file]["digest"] != _digest(text))
    ]


async def migrate(conn: asyncpg.Connection) -> list[str]:
    """Apply what is missing: each migration in a transaction of its own, then the changed definitions in one.

    Returns the versions and the files of definitions that were applied. Versions that only a newer release has are left
    alone: two releases may share a database. Raises ForeignSchemaError, having changed nothing, when the tables are
    not those of this line of releases.

    The lock is held per transaction, so it works behind a pooler in transaction mode. Where others hold a table for
    longer than LOCK_TIMEOUT it is tried again, ATTEMPTS times in all; then asyncpg.LockNotAvailableError.
    """
    done: list[str] = []
    for version, text in available():
        done += await _patiently(partial(_apply, conn, version, text))
    return done + await _patiently(partial(_define, conn))


async def _patiently(step: Callable[[], Awaitable[list[str]]]) -> list[str]:
    for _ in range(ATTEMPTS - 1):
        try:
            return await step()
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(PAUSE)
    return await step()


async def _apply(conn: asyncpg.Connection, version: str, text: str) -> list[str]:
    async with _alone(conn) as versions:
        if version in versions:
            return []
        await conn.execute(text)
        await conn.execute("INSERT INTO schema_migrations (version) VALUES ($1)", version)
        return [version]


@asynccontextmanager
async def _alone(conn: asyncpg.Connection) -> AsyncIterator[set[str]]:
    """A transaction during which no other host migrates; gives the versions applied before."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)  # the other host may need hours
        await conn.execute("SELECT set_config('lock_timeout', $1, true)", f"{LOCK_TIMEOUT}s")
        versions = await applied(conn)
        if foreign := sorted(version for version in versions if not _VERSION.fullmatch(version)):
            raise ForeignSchemaError(
                f"this database has other tables than this release's (schema_migrations: {foreign[-1]}):"
                " migrate a new database, or go on with the release that made this one"
            )
        await conn.execute(_RECORDS)
        yield versions


async def _define(conn: asyncpg.Connection) -> list[str]:
    """The files whose text is not the one applied last; none, where a newer release has applied its own."""
    done = []
    async with _alone(conn):
        rows = {row["file"]: row for row in await conn.fetch("SELECT file, digest, revision FROM schema_definitions")}
        if any(row["revision"] > REVISION for row in rows.values()):
            return []
        for file, text in definitions():
            if file in rows and rows[file]["digest"] == _digest(text):
                continue
            await conn.execute(text)
            await conn.execute(
                "INSERT INTO schema_definitions AS d (file, digest, revision) VALUES ($1, $2, $3)"
                " ON CONFLICT (file) DO UPDATE SET digest = excluded.digest, revision = excluded.revision",
                file,
                _digest(text),
                REVISION,
            )
            done.append(f"schema/{file}")
    return done


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _texts(folder: str) -> list[tuple[str, str]]:
    files = resources.files("sql").joinpath(folder).iterdir()
    return sorted((f.name.removesuffix(".sql"), f.read_text("utf-8")) for f in files if f.name.endswith(".sql"))
