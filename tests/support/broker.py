"""A foreign client of the broker: publishes anything on the command exchange, and reads the dead letters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from service.contracts.topology import Topology
from service.runtime.settings import Settings
from tests.support.waiting import PATIENCE, until


@dataclass(frozen=True)
class DeadLetter:
    """A body as it came, and why it could not be handled."""

    body: bytes
    reason: str


@dataclass(frozen=True)
class BrokerClient:
    """A connection to the broker that is none of Clarion's."""

    channel: AbstractChannel
    topology: Topology

    async def publish(self, body: bytes, key: str = "deliver") -> None:
        """Confirmed; the routing key is the command's name."""
        exchange = await self.channel.get_exchange(self.topology.commands, ensure=False)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await exchange.publish(message, key, mandatory=True)

    async def dead_letters(self, how_many: int) -> list[DeadLetter]:
        """The next dead letters, taken off their queue; waits until there are so many."""
        queue = await self.channel.get_queue(self.topology.dead, ensure=False)
        found: list[DeadLetter] = []
        complete = asyncio.Event()

        async def take(message: AbstractIncomingMessage) -> None:
            found.append(DeadLetter(message.body, str(message.headers.get("reason"))))
            await message.ack()
            if len(found) == how_many:
                complete.set()

        tag = await queue.consume(take)
        async with asyncio.timeout(PATIENCE):
            await complete.wait()
        await queue.cancel(tag)
        return found

    async def delete_topology(self) -> None:
        """Removes the installation's queues and exchanges; quorum queues would burden the broker for ever."""
        for queue in self.topology.queues:
            await self.channel.queue_delete(queue.name)
        for exchange in self.topology.exchanges:
            await self.channel.exchange_delete(exchange.name)

    async def waiting(self, name: str, how_many: int) -> None:
        """Returns when so many commands of that name wait in their queue and are with no consumer."""
        await self.waiting_in(self.topology.command_queue(name), how_many)

    async def waiting_in(self, queue: str, how_many: int) -> None:
        """Returns when so many messages wait in the queue and are with no consumer."""

        async def waits() -> bool:
            declared = await self.channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count == how_many

        await until(waits)


@asynccontextmanager
async def broker_client(settings: Settings) -> AsyncIterator[BrokerClient]:
    """Connected for as long as the block runs."""
    connection = await aio_pika.connect(str(settings.amqp_url))
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield BrokerClient(channel, Topology(settings.amqp_prefix))
