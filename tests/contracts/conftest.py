"""An installation's exchanges and queues on the real broker, with a publisher and without consumers."""

from collections.abc import AsyncIterator

import pytest

from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient, broker_client
from tests.support.waiting import until


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """Connected."""
    made = Publisher(settings, "test-contracts")
    await made.broker.start()
    await until(lambda: made.connected)
    yield made
    await made.broker.stop()


@pytest.fixture
async def outsider(settings: Settings, publisher: Publisher) -> AsyncIterator[BrokerClient]:
    """Takes the messages off the queues, and in the end the queues off the broker."""
    async with broker_client(settings) as made:
        yield made
        await made.delete_topology()
