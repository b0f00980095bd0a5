"""Every test gets a database of its own and a broker prefix of its own, on the real servers.

deploy/test finds or starts the servers and sets CLARION_DATABASE_URL and CLARION_AMQP_URL.
"""

import hashlib
import os
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.runtime.settings import Settings
from sql import migrate

_TEMPLATE_LOCK = 7_206_110_512_005


def _server_url() -> str:
    return os.environ["CLARION_DATABASE_URL"]


def _with_database(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    return base.rsplit("/", 1)[0] + "/" + name + ("?" + query if query else "")


async def _template() -> str:
    """Name of a migrated database to clone; made once per set of migrations, whoever comes first."""
    digest = hashlib.sha256(repr(migrate.available()).encode()).hexdigest()[:12]
    name = f"clarion_template_{digest}"
    admin = await asyncpg.connect(_server_url())
    try:
        await admin.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
        if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}_new"')
            await admin.execute(f'CREATE DATABASE "{name}_new"')
            conn = await asyncpg.connect(_with_database(_server_url(), f"{name}_new"))
            await migrate.migrate(conn)
            await conn.close()
            await admin.execute(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
    finally:
        await admin.close()
    return name


@pytest.fixture
async def database_url() -> AsyncIterator[str]:
    """DSN of a fresh, migrated database, dropped afterwards."""
    template = await _template()
    name = f"clarion_test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(_server_url())
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield _with_database(_server_url(), name)
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on the test's database."""
    made = await asyncpg.create_pool(database_url, min_size=0, max_size=8)
    yield made
    await made.close()


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings of an installation of the test's own: database, broker prefix, a free port."""
    return Settings(
        database_url=database_url,
        amqp_url=os.environ["CLARION_AMQP_URL"],
        amqp_prefix=f"test-{uuid.uuid4().hex[:12]}",
        port=0,
    )
