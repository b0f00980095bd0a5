"""The leader of a quorum queue parted from its cluster, and killed, in the middle of sends.

Each once in the suite; CLARION_CLUSTER_ROUNDS says how often otherwise (tests/README.md).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from service.contracts.topology import Topology
from service.runtime.settings import Settings
from tests.support.broker_cluster import Cluster, Node, broker_cluster
from tests.support.fault_environment import FaultEnvironment, fault_environment, killed_while_delivering
from tests.support.mixed_load import MixedLoad, mixed_load
from tests.support.private_servers import kill
from tests.support.recovery import ROUNDS, Recovery


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Three nodes of the test's own."""
    async with broker_cluster() as made:
        yield made


@pytest.fixture
async def there(small: Settings, cluster: Cluster) -> AsyncIterator[FaultEnvironment]:
    """A course of 240, a dozen commands for each send, which go through the cluster."""
    settings = Settings(**small.model_dump() | {"amqp_url": cluster.urls, "chunk_size": 20})
    async with fault_environment(settings, students=240) as made:
        yield made


async def send_over_and_over(there: FaultEnvironment, load: MixedLoad) -> None:
    """One send after the other, until it is cancelled."""
    while True:
        await load.teacher.sent(await load.send(there.bulk()))


async def test_a_cluster_that_loses_a_leader_fails_no_request_and_loses_and_doubles_nothing(
    there: FaultEnvironment, cluster: Cluster, chance: random.Random, recovery: Recovery
) -> None:
    processes = [await there.running.api(), await there.running.worker(), await there.running.worker()]
    queue = Topology(there.running.settings.amqp_prefix).command_queue("deliver")
    faults: list[tuple[Callable[[Node], Awaitable[None]], Callable[[Node], Awaitable[None]]]] = [
        (cluster.part, cluster.join),
        (kill, Node.ensure),
    ]
    async with mixed_load(there, there.running.url) as load:
        for number in range(2 * ROUNDS):
            lose, bring_back = faults[number % 2]
            leader = await cluster.leader(queue)
            sending = asyncio.create_task(send_over_and_over(there, load))
            await killed_while_delivering(chance, processes[1], partial(lose, leader))
            await recovery.full_speed(there, load)
            sending.cancel()
            if number < 2 * ROUNDS - 1:
                await bring_back(leader)
                await cluster.complete()
                await recovery.full_speed(there, load)

    await there.assert_all_sent()
    await there.until("SELECT count(*) = 0 FROM outbox")
    async with there.look() as conn:
        await load.assert_once(conn)
    for process in processes:
        assert await process.stop() == 0
