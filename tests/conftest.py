"""Every test gets a database of its own and a broker prefix of its own, on the real servers.

deploy/test finds or starts the servers and sets CLARION_DATABASE_URL and CLARION_AMQP_URL.
"""

import os
from collections.abc import AsyncIterator

import asyncpg
import hypothesis
import pytest
import structlog

from service.runtime.settings import Settings
from tests.support.conversations import Threads
from tests.support.databases import Databases, server_url, with_database
from tests.support.institution import Institution
from tests.support.ledger import close_ledger, new_prefix
from tests.support.order import dealt
from tests.support.school import School, make_school

# How long an example takes says something about the machine, which other tests share, and nothing about the code.
hypothesis.settings.register_profile(
    "shared_machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared_machine")

# By default the traceback of an error that is logged shows all variables, in colours: a second for each.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No slow test is left for the end, when tests run in several processes."""
    if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        items[:] = dealt(items, int(processes))


def pytest_unconfigure() -> None:
    """The run has ended in order, and removed what it had made."""
    close_ledger()


@pytest.fixture(scope="session")
async def databases() -> AsyncIterator[Databases]:
    """The databases of this test process."""
    made = Databases()
    yield made
    await made.drop_all()


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[str]:
    """Name of a migrated database without rows, the test's own while it runs."""
    name = await databases.borrow()
    yield name
    await databases.give_back(name)


@pytest.fixture
def database_url(database: str) -> str:
    """DSN of the test's database."""
    return with_database(server_url(), database)


@pytest.fixture
async def conn(databases: Databases, database: str) -> asyncpg.Connection:
    """A connection to the test's database."""
    return await databases.connection(database)


@pytest.fixture
async def pool(databases: Databases, database: str) -> asyncpg.Pool:
    """A pool on the test's database."""
    return await databases.pool(database)


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings of an installation of the test's own: database, broker prefix, a free port."""
    return Settings(
        database_url=database_url,
        amqp_url=os.environ["CLARION_AMQP_URL"],
        amqp_prefix=new_prefix(),
        port=0,
        drain_delay=0,
    )


@pytest.fixture
async def institution(conn: asyncpg.Connection) -> Institution:
    """The test's directory, with its root account (id 1) and nothing else."""
    made = Institution(conn)
    await made.account(name="Root")
    return made


@pytest.fixture
def threads(conn: asyncpg.Connection) -> Threads:
    """Conversations as rows, where a test needs them and not how they came."""
    return Threads(conn)


@pytest.fixture
async def school(institution: Institution) -> School:
    """A course of 250 students, so that a bulk send can have several chunks."""
    return await make_school(institution)
