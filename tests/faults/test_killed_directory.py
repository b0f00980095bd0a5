"""Worker, database or broker killed in the middle of a stream of directory events: none is lost."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiormq.exceptions import AMQPError, ChannelInvalidStateError

from deploy.postgres import PrivatePostgres
from deploy.rabbitmq import PrivateRabbitMQ
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.chance import as_often
from tests.support.directory_feed import Feed, directory_event, feed
from tests.support.fault_environment import killed_while_delivering
from tests.support.private_servers import kill, own_postgres, queues_on_disk
from tests.support.processes import Installation, Process, installation
from tests.support.waiting import until

ROUNDS = as_often(2)
PEOPLE = 150
BLOCK, PACE = 20, 0.03  # events at once, and seconds between two such blocks: enough that there is always work
FOLLOWED = '"directory_followed"'


class Stream:
    """Publishes news of some people, without end; ``latest`` is what the directory has to say in the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._second = 0
        self.latest: dict[int, str] = {}
        self.over = asyncio.Event()

    async def run(self) -> None:
        """Returns when it is over and the broker has everything; what it may not have is published again."""
        rest: list[bytes] = []
        while rest or not self.over.is_set():
            try:
                async with feed(self._settings) as source:
                    await self._publish(source, rest)
            except (AMQPError, ChannelInvalidStateError, OSError):
                await asyncio.sleep(0.2)

    async def _publish(self, source: Feed, rest: list[bytes]) -> None:
        while rest or not self.over.is_set():
            rest[:] = rest or self._news()
            await source.publish(*rest)
            rest.clear()
            await asyncio.sleep(PACE)

    def _news(self) -> list[bytes]:
        made = []
        for _ in range(BLOCK):
            self._second += 1
            number = 1 + self._second * 7 % PEOPLE
            self.latest[number] = f"at {self._second}"
            made.append(directory_event("user_updated", self._second, user_id=number, name=self.latest[number]))
        return made


async def follower(running: Installation) -> Process:
    """A worker of directory events, which it has begun to consume."""
    worker = await running.start("worker", "--only", "directory")
    await worker.logged("broker_connected", times=2)
    return worker


@asynccontextmanager
async def streaming(settings: Settings) -> AsyncIterator[tuple[Installation, list[Process]]]:
    """Two workers under a stream of events. In the end the directory says what was published last, of everybody."""
    async with installation(settings) as running:
        workers = [await follower(running), await follower(running)]
        stream = Stream(settings)
        running_stream = asyncio.create_task(stream.run())
        try:
            yield running, workers
        finally:
            stream.over.set()
            await running_stream
        await until(lambda: _ends_with(settings, stream.latest))
        async with broker_client(settings) as outside:
            await outside.waiting_in(outside.topology.directory, 0)
            for worker in workers:
                assert await worker.stop() == 0
            await outside.waiting_in(outside.topology.dead, 0)
            await outside.delete_topology()


async def _ends_with(settings: Settings, latest: dict[int, str]) -> bool:
    conn = await asyncpg.connect(str(settings.database_url))
    found = {row["id"]: row["name"] for row in await conn.fetch("SELECT id, name FROM users")}
    await conn.close()
    return found == latest


async def test_workers_killed_at_random_moments_lose_no_event(settings: Settings, chance: random.Random) -> None:
    async with streaming(settings) as (running, workers):
        for _ in range(ROUNDS):
            victim = chance.randrange(len(workers))
            await killed_while_delivering(chance, workers[victim], done=FOLLOWED)
            workers[victim] = await follower(running)


@pytest.fixture
async def postgres() -> AsyncIterator[PrivatePostgres]:
    """A database server of the test's own."""
    async with own_postgres() as server:
        yield server


async def _restarted(chance: random.Random, worker: Process, server: PrivatePostgres | PrivateRabbitMQ) -> None:
    await killed_while_delivering(chance, worker, lambda: kill(server), done=FOLLOWED)
    await server.ensure()


async def test_a_database_killed_in_the_middle_loses_no_event(
    settings: Settings, postgres: PrivatePostgres, chance: random.Random
) -> None:
    own = Settings(**settings.model_dump() | {"database_url": postgres.url})
    async with streaming(own) as (_, workers):
        for number in range(ROUNDS // 2):
            await _restarted(chance, workers[number % 2], postgres)


async def test_a_broker_killed_in_the_middle_loses_no_event(
    settings: Settings, server: PrivateRabbitMQ, chance: random.Random
) -> None:
    own = Settings(**settings.model_dump() | {"amqp_url": server.url})
    async with streaming(own) as (_, workers):
        await queues_on_disk(server, own.amqp_prefix)
        for number in range(ROUNDS // 2):
            await _restarted(chance, workers[number % 2], server)
