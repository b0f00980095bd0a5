"""``clarion dead requeue`` killed at any moment: every letter is in its queue or still dead, or both."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aio_pika import DeliveryMode, Message

from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient, broker_client
from tests.support.chance import as_often
from tests.support.processes import Process, environment
from tests.support.waiting import until

ROUNDS = as_often(2)
LETTERS = 600


@pytest.fixture
async def outside(settings: Settings) -> AsyncIterator[BrokerClient]:
    """Everything is declared, and gone in the end."""
    publisher = Publisher(settings, "test")
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await publisher.broker.stop()
    async with broker_client(settings) as made:
        yield made
        await made.delete_topology()


async def test_a_requeue_killed_at_random_moments_loses_nothing(
    settings: Settings, outside: BrokerClient, chance: random.Random
) -> None:
    dead, source = outside.topology.dead, outside.topology.directory
    letters = [str(number).encode() for number in range(LETTERS)]
    exchange = await outside.channel.get_exchange(dead, ensure=False)
    for letter in letters:
        await exchange.publish(
            Message(letter, headers={"reason": "test", "source": source}, delivery_mode=DeliveryMode.PERSISTENT), "any"
        )

    doubled, left = 0, LETTERS
    for _ in range(ROUNDS):
        process = Process(["dead", "requeue", "--all"], environment(settings))
        await process.start()
        before = await _count(outside, source)
        if left:
            await until(partial(_more, outside, source, before))
        await asyncio.sleep(chance.uniform(0, 0.5))
        await process.stop(signal.SIGKILL)
        left = await _settled(outside, dead)
        doubled = await _count(outside, source) + left - LETTERS
        assert doubled >= 0

    process = Process(["dead", "requeue", "--all"], environment(settings))
    await process.start()
    assert await process.stop(signal.SIGCONT) == 0
    assert await _count(outside, dead) == 0
    queue = await outside.channel.get_queue(source, ensure=False)
    found = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        found.append(message.body)
    assert set(found) == set(letters)
    assert len(found) == LETTERS + doubled


async def _more(outside: BrokerClient, queue: str, than: int) -> bool:
    return await _count(outside, queue) > than


async def _count(outside: BrokerClient, queue: str) -> int:
    declared = await outside.channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0


async def _settled(outside: BrokerClient, queue: str) -> int:
    """How many messages are in a queue, once it has no consumer any more."""

    async def unread() -> bool:
        return (await outside.channel.declare_queue(queue, passive=True)).declaration_result.consumer_count == 0

    await until(unread)
    return await _count(outside, queue)
