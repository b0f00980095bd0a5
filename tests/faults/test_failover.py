"""PostgreSQL's primary lost in the middle of sends, and its synchronous standby promoted, under load.

Once in the suite; CLARION_CLUSTER_ROUNDS says how often otherwise (tests/README.md).
"""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.commands import clarion
from tests.support.event_streams import event_stream
from tests.support.fault_environment import FaultEnvironment, fault_environment, killed_while_delivering
from tests.support.mixed_load import mixed_load
from tests.support.private_servers import freeze, kill
from tests.support.recovery import ROUNDS, Recovery
from tests.support.standby import Pair, postgres_pair


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Servers of the test's own."""
    async with postgres_pair() as made:
        yield made


@pytest.fixture
async def there(small: Settings, pair: Pair) -> AsyncIterator[FaultEnvironment]:
    """A course of 240; migrated by the command, whose first host takes no writes."""
    settings = Settings(**small.model_dump() | {"database_url": f"{pair.url}?target_session_attrs=read-write"})
    migrated = await clarion(settings, "migrate")
    assert migrated.code == 0, migrated
    async with fault_environment(settings, students=240) as made:
        yield made
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


async def test_a_standby_that_is_promoted_goes_on_with_everything_that_was_committed(
    there: FaultEnvironment, pair: Pair, chance: random.Random, recovery: Recovery
) -> None:
    gateway = await there.running.api()
    workers = [await there.running.worker(), await there.running.worker()]

    async with mixed_load(there, there.running.url, patient=True) as load:
        watched = await load.send(there.bulk(send_at=(datetime.now(UTC) + timedelta(days=1)).isoformat()))
        token = {"Authorization": f"Bearer token-of-{there.school.teacher}"}
        async with event_stream(there.session, token, watched, base=there.running.url) as stream:
            await gateway.logged('"listening"')
            for number in range(ROUNDS):
                lose = freeze if number % 2 else kill
                await load.more(1)
                await load.send(there.private() if number % 2 else there.bulk())
                await killed_while_delivering(chance, workers[number % 2], partial(lose, pair.primary))
                await pair.promote()
                await recovery.full_speed(there, load)
                await gateway.logged('"listening"', times=number + 2)
                await pair.follow()
            await load.teacher.call("POST", f"/conversations/batches/{watched}/cancel")
            assert (await stream.rest())[-1].name == "finished"

    assert all(failure.startswith("503") for failure in load.failures), load.failures
    await there.assert_all_sent()
    async with there.look() as conn:
        await load.assert_once(conn)
    for process in (gateway, *workers):
        assert await process.stop() == 0
