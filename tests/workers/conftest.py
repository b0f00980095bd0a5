"""Parts of a worker, in this process, on the real servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.batches import Batches
from tests.support.broker import BrokerClient, broker_client
from tests.support.directory_feed import Feed, feed
from tests.support.request_client import RequestClient, request_client
from tests.support.request_messages import Requesting
from tests.support.waiting import until
from workers.amqp_requests import RequestConsumer


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """What has failed, or was commanded, falls due again after the test, however slow the machine is."""
    return settings.model_copy(update={"retry_after": 3600.0})


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """Connected; everything is declared."""
    made = Publisher(settings, "test")
    await made.broker.start()
    await until(lambda: made.connected)
    yield made
    await made.broker.stop()


@pytest.fixture
async def outside(settings: Settings, publisher: Publisher) -> AsyncIterator[BrokerClient]:
    """A look at the broker from outside; removes the queues in the end."""
    async with broker_client(settings) as made:
        yield made
        await made.delete_topology()


@pytest.fixture
async def source(settings: Settings, publisher: Publisher) -> AsyncIterator[Feed]:
    """The feed of directory events; the publisher has declared where it goes."""
    async with feed(settings) as made:
        yield made


@pytest.fixture
def batches(conn: asyncpg.Connection) -> Batches:
    """The test's batches."""
    return Batches(conn)


@pytest.fixture
def requesting(settings: Settings, publisher: Publisher, pool: asyncpg.Pool) -> Requesting:
    """Consumers of the queue while the block runs, as ``clarion worker --only requests`` runs them."""

    @asynccontextmanager
    async def consume(*, workers: int = 1, pool: asyncpg.Pool = pool) -> AsyncIterator[list[RequestConsumer]]:
        made = [RequestConsumer(settings, pool, publisher) for _ in range(workers)]
        for consumer in made:
            await consumer.start()
        await until(lambda: all(consumer.broker.connected for consumer in made))
        try:
            yield made
        finally:
            for consumer in made:
                await consumer.drain()

    return consume


@pytest.fixture
async def asking(settings: Settings, outside: BrokerClient) -> AsyncIterator[RequestClient]:
    """A service with requests; the queues are there, and go with the test."""
    async with request_client(settings) as made:
        yield made
