"""Forward-only migrations, then the definitions of sql/schema; safe to run from many hosts at once."""

import functools
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources

import asyncpg

from sql.connection import Connection

# Of sql/schema: raised by each release that changes a text there (sql/schema/README.md).
REVISION = 1

# Any constant that is the same in every process that migrates this database.
_LOCK = 7_206_110_512_004
_RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS schema_definitions (file text PRIMARY KEY, digest text NOT NULL, revision integer NOT NULL);
"""
# Every release names its migrations like this; those of the time before the first release had four digits.
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
    """Migrations and definitions that this code needs and the database has not; none where it has a newer release's."""
    if not await conn.fetchval("SELECT to_regclass('schema_definitions') IS NOT NULL"):
        return [version for version, _ in available()]
    versions = await applied(conn)
    rows = {row["file"]: row for row in await conn.fetch("SELECT file, digest, revision FROM schema_definitions")}
    lacking = [version for version, _ in available() if version not in versions]
    if any(row["revision"] > REVISION for row in rows.values()):
        return lacking
    stale = [file for file, text in definitions() if file not in rows or rows[file]["digest"] != _digest(text)]
    return lacking + [f"schema/{file}" for file in stale]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def migrate(conn: asyncpg.Connection) -> list[str]:
    """Apply what is missing: each migration in a transaction of its own, then the changed definitions in one.

    Returns the versions and the files of definitions that were applied. Versions that only a newer release has are left
    alone: two releases may share a database. Raises ForeignSchemaError, having changed nothing, when the tables are
    not those of this line of releases.

    The lock is held per transaction, so it works behind a pooler in transaction mode.
    """
    done: list[str] = []
    for version, text in available():
        async with _alone(conn) as versions:
            if version in versions:
                continue
            await conn.execute(text)
            await conn.execute("INSERT INTO schema_migrations (version) VALUES ($1)", version)
            done.append(version)
    async with _alone(conn):
        return done + await _define(conn)


@asynccontextmanager
async def _alone(conn: asyncpg.Connection) -> AsyncIterator[set[str]]:
    """A transaction during which no other host migrates; gives the versions applied before."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
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
    rows = {row["file"]: row for row in await conn.fetch("SELECT file, digest, revision FROM schema_definitions")}
    if any(row["revision"] > REVISION for row in rows.values()):
        return []
    done = []
    for file, text in definitions():
        digest = _digest(text)
        if file in rows and rows[file]["digest"] == digest:
            continue
        await conn.execute(text)
        await conn.execute(
            "INSERT INTO schema_definitions AS d (file, digest, revision) VALUES ($1, $2, $3)"
            " ON CONFLICT (file) DO UPDATE SET digest = excluded.digest, revision = excluded.revision",
            file,
            digest,
            REVISION,
        )
        done.append(f"schema/{file}")
    return done


@functools.cache
def _texts(folder: str) -> list[tuple[str, str]]:
    files = resources.files("sql").joinpath(folder).iterdir()
    return sorted((f.name.removesuffix(".sql"), f.read_text("utf-8")) for f in files if f.name.endswith(".sql"))
