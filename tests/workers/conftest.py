"""Parts of a worker, in this process, on the real servers."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.runtime.broker import Publisher
from service.runtime.settings import Settings
from tests.amqp import Stranger, stranger
from tests.waiting import until
from tests.workers.batches import Batches


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """Connected; everything is declared."""
    made = Publisher(settings, "test")
    await made.broker.start()
    await until(lambda: made.connected)
    yield made
    await made.broker.stop()


@pytest.fixture
async def outside(settings: Settings, publisher: Publisher) -> AsyncIterator[Stranger]:
    """A look at the broker from outside; removes the queues in the end."""
    async with stranger(settings) as made:
        yield made
        await made.forget()


@pytest.fixture
def batches(conn: asyncpg.Connection) -> Batches:
    """The test's batches."""
    return Batches(conn)
