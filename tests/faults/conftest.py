"""Places to break things in."""

import asyncio
import os
import random
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.rabbitmq import PrivateRabbitMQ
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.fault_environment import FaultEnvironment, fault_environment
from tests.support.private_servers import PASSWORD, open_folder, takes_queues
from tests.support.recovery import Recovery

SMALL = {
    "chunk_size": 3,
    "sweep_interval": 0.2,
    "retry_after": 1.0,
    "max_bulk_private_recipients": 1000,
    "throttle_maximum": 0,
}


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random moments; set CLARION_FAULT_SEED to what a failed test reports to repeat them."""
    seed = int(os.environ.get("CLARION_FAULT_SEED", uuid.uuid4().int % 1_000_000))
    request.node.add_report_section("call", "seed", f"CLARION_FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def recovery(request: pytest.FixtureRequest) -> Recovery:
    """What is measured stands in the report of the test (``-rA``)."""
    return Recovery(partial(request.node.add_report_section, "call", "recovery"))


@pytest.fixture
def small(settings: Settings) -> Settings:
    """Small chunks, so that a send takes a while, and an eager sweeper."""
    return settings.model_copy(update=SMALL)


@pytest.fixture(scope="session")
def _one_server() -> Iterator[PrivateRabbitMQ]:
    with open_folder() as folder:
        made = PrivateRabbitMQ(Path(folder), PASSWORD)
        yield made
        made.stop()


@pytest.fixture
async def server(_one_server: PrivateRabbitMQ) -> PrivateRabbitMQ:
    """A broker of this test process, whose users and life are the tests': it runs again when the next one begins.

    A start costs about four CPU seconds. A RabbitMQ that was killed in a bad moment may refuse every queue from then
    on; the next test has a new one.
    """
    await _one_server.ensure()
    if not await takes_queues(_one_server):
        await asyncio.to_thread(_one_server.stop)
        shutil.rmtree(_one_server.home)
        await _one_server.ensure()
    return _one_server


@pytest.fixture
async def there(small: Settings) -> AsyncIterator[FaultEnvironment]:
    """A course of 240 on the servers of all tests: its processes may be killed, the servers not."""
    async with fault_environment(small, students=240) as made:
        yield made
    async with broker_client(small) as cleaner:
        await cleaner.delete_topology()
