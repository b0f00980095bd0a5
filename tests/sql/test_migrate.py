"""Migrations: forward only, once each, from many hosts at once."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from sql import migrate
from tests.databases import server_url, with_database


@pytest.fixture
async def empty_database() -> AsyncIterator[str]:
    """DSN of a database without any table."""
    name = f"clarion_test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(server_url())
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield with_database(server_url(), name)
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


async def test_many_hosts_migrate_at_once(empty_database: str) -> None:
    """Each migration is applied by exactly one of them, and all see the end."""

    async def host() -> list[str]:
        conn = await asyncpg.connect(empty_database)
        try:
            return await migrate.migrate(conn)
        finally:
            await conn.close()

    done = await asyncio.gather(*(host() for _ in range(5)))

    versions = [version for version, _ in migrate.available()]
    assert sorted(version for applied in done for version in applied) == versions
    assert await host() == []


async def test_a_failed_migration_leaves_nothing(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction with its mark."""
    broken = [("0001_fine", "CREATE TABLE fine ()"), ("0002_broken", "CREATE TABLE half (); SELECT 1/0")]
    monkeypatch.setattr(migrate, "available", lambda: broken)
    conn = await asyncpg.connect(empty_database)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.migrate(conn)
    assert await migrate.applied(conn) == {"0001_fine"}
    assert await conn.fetchval("SELECT to_regclass('half')") is None
    await conn.close()
