"""Migrations: forward only, once each, from many hosts at once."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from service.application.directory.events import follow
from sql import migrate
from tests.support.databases import server_url, with_database
from tests.support.directory_feed import START
from tests.support.directory_histories import event


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


async def test_a_key_that_is_new_was_never_told(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account's uuid is taken from older events than those that told its other keys."""
    everything = migrate.available()
    before = [step for step in everything if step[0] < "0018"]
    monkeypatch.setattr(migrate, "available", lambda: before)
    conn = await asyncpg.connect(empty_database)
    await migrate.migrate(conn)
    await conn.execute(
        "INSERT INTO accounts (id, name, site_admin, as_of, stamps) VALUES (1, 'One', true, $1, NULL), (2, 'Two', true,"
        " $1, ARRAY[$1, '-infinity', '-infinity', '-infinity', $1]::timestamptz[])",
        START + timedelta(days=2),
    )
    monkeypatch.setattr(migrate, "available", lambda: everything)
    await migrate.migrate(conn)

    older = {"name": "Older", "workflow_state": "deleted", "root_account_uuid": "a-1", "site_admin": False}
    await follow(conn, [event("account_updated", 1, account_id=account, **older) for account in (1, 2)])

    found = await conn.fetch("SELECT name, workflow_state, site_admin, root_account_uuid FROM accounts ORDER BY id")
    assert [tuple(row) for row in found] == [("One", "active", True, "a-1"), ("Two", "deleted", True, "a-1")]
    await conn.close()


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
