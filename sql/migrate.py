"""Forward-only migrations from sql/migrations, safe to run from many hosts at once."""

from importlib import resources

import asyncpg

# Any constant will do: it only has to be the same in every process that migrates this database.
_LOCK = 7_206_110_512_004


def available() -> list[tuple[str, str]]:
    """(version, text) of every migration in the package, in order."""
    files = resources.files("sql").joinpath("migrations").iterdir()
    return sorted((f.name.removesuffix(".sql"), f.read_text("utf-8")) for f in files if f.name.endswith(".sql"))


async def applied(conn: asyncpg.Connection) -> set[str]:
    """Versions already in the database; empty before the first migration."""
    if not await conn.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        return set()
    return {row["version"] for row in await conn.fetch("SELECT version FROM schema_migrations")}


async def migrate(conn: asyncpg.Connection) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own; returns the versions applied.

    The lock is held per transaction, so it works behind a pooler in transaction mode.
    """
    done: list[str] = []
    for version, text in available():
        async with conn.transaction():
            await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await conn.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations"
                " (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            if version in await applied(conn):
                continue
            await conn.execute(text)
            await conn.execute("INSERT INTO schema_migrations (version) VALUES ($1)", version)
            done.append(version)
    return done
