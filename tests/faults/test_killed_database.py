"""PostgreSQL killed in the middle of sends: commits with unknown outcome, and a gateway that says what is wrong."""

import random
from collections.abc import AsyncIterator

import pytest

from deploy.postgres import PrivatePostgres
from service.runtime.settings import Settings
from tests.support.chance import as_often
from tests.support.fault_environment import FaultEnvironment, fault_environment, killed_while_delivering, logged
from tests.support.private_servers import kill, own_postgres

ROUNDS = as_often(2)


@pytest.fixture
async def postgres() -> AsyncIterator[PrivatePostgres]:
    """A server of the test's own."""
    async with own_postgres() as server:
        yield server


@pytest.fixture
async def there(small: Settings, postgres: PrivatePostgres) -> AsyncIterator[FaultEnvironment]:
    """A course of 240 on the test's own server."""
    settings = Settings(**small.model_dump() | {"database_url": postgres.url})
    async with fault_environment(settings, students=240) as made:
        yield made


async def test_a_database_killed_in_the_middle_of_sends_loses_and_doubles_nothing(
    there: FaultEnvironment, postgres: PrivatePostgres, chance: random.Random
) -> None:
    gateway = await there.running.api()
    workers = [await there.running.worker(), await there.running.worker()]

    for number in range(ROUNDS):
        await there.send(there.private() if number % 2 else there.bulk())
        await killed_while_delivering(chance, workers[number % 2], lambda: kill(postgres))
        status, answer, _ = await there.readiness()
        assert (status, answer["failing"]) == (503, ["database"])
        status, answer, _ = await there.teacher.call("POST", "/conversations", json=there.bulk())
        assert status == 503
        await postgres.ensure()
        await there.ready()

    await there.assert_all_sent()
    async with there.look() as conn:
        assert await conn.fetchval("SELECT count(*) FROM batches") == ROUNDS
        # A database that is away is no fault of the chunk's.
        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE attempts > 0") == 0
    for process in (gateway, *workers):
        assert await process.stop() == 0


async def test_processes_start_and_stop_while_the_database_is_away(
    there: FaultEnvironment, postgres: PrivatePostgres
) -> None:
    """They wait for it with what they have; SIGTERM ends the waiting."""
    gateway = await there.running.api()
    first = await there.running.worker()
    await there.send(there.bulk())
    await first.logged("chunk_delivered")
    await kill(postgres)
    await first.logged("command_held")
    second = await there.running.worker()

    assert await first.stop() == 0
    assert await gateway.stop() == 0
    assert not logged(first, "work_abandoned")
    await second.logged("command_held")
    await postgres.ensure()
    await there.assert_all_sent()
