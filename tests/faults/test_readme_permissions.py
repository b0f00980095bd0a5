"""RabbitMQ users with the permissions that the integrators' page names: enough for what they are for, and no more."""

import asyncio
import os
import sys

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from deploy.rabbitmq import PrivateRabbitMQ
from service.contracts.commands import PlanBatch
from service.contracts.topology import CREATE_CONVERSATION, Topology
from service.runtime.answer_publisher import AnswerPublisher
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support import readme
from tests.support.private_servers import create_broker_user
from tests.support.waiting import PATIENCE, until

TOPOLOGY = Topology("clarion")


@pytest.fixture(autouse=True)
async def _declared(settings: Settings, server: PrivateRabbitMQ) -> None:
    """Everything is there, declared by a user with all rights."""
    publisher = Publisher(of(settings, server.url), "powerful")
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await publisher.broker.stop()


def of(settings: Settings, url: str) -> Settings:
    """An installation with the names that the README has."""
    return Settings(**settings.model_dump() | {"amqp_url": url, "amqp_prefix": TOPOLOGY.prefix})


async def send(channel: AbstractChannel, exchange: str, key: str) -> None:
    """Confirmed and mandatory."""
    target = await channel.get_exchange(exchange, ensure=False)
    await target.publish(aio_pika.Message(b"{}"), key, mandatory=True)


async def refused(connection: aio_pika.abc.AbstractConnection, exchange: str, key: str = "") -> None:
    """Nothing can be published there by this user."""
    channel = await connection.channel(on_return_raises=True)
    with pytest.raises(ChannelAccessRefused):
        await send(channel, exchange, key)


async def test_each_user_may_do_what_it_is_for_and_no_more(settings: Settings, server: PrivateRabbitMQ) -> None:
    await listening(server)
    await feeding(server)
    await requesting(settings, server)


async def listening(server: PrivateRabbitMQ) -> None:
    """The program of the README takes an event, and its user can publish none."""
    url = await create_broker_user(server, **readme.permissions("listen"))
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", readme.consumer()),
        env=os.environ | {"CLARION_AMQP_URL": url, "CLARION_AMQP_PREFIX": TOPOLOGY.prefix},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert program.stdout is not None
        line = asyncio.create_task(program.stdout.readline())
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel(on_return_raises=True)

            async def taken() -> bool:
                try:
                    await send(channel, TOPOLOGY.events, "batch_started")
                except aio_pika.exceptions.PublishError:
                    return False  # not bound yet
                return True

            await until(taken)
        async with asyncio.timeout(PATIENCE):
            assert (await line).endswith(b" {}\n")
    finally:
        program.terminate()
        await program.wait()
    async with await aio_pika.connect(url) as connection:
        await refused(connection, TOPOLOGY.events, "batch_started")


async def feeding(server: PrivateRabbitMQ) -> None:
    """A feed can be published, and neither commands nor requests."""
    url = await create_broker_user(server, **readme.permissions("feed"))
    async with await aio_pika.connect(url) as connection:
        await send(await connection.channel(on_return_raises=True), TOPOLOGY.directory, "user_created")
        await refused(connection, TOPOLOGY.commands, "plan")
        await refused(connection, TOPOLOGY.requests, CREATE_CONVERSATION)


async def requesting(settings: Settings, server: PrivateRabbitMQ) -> None:
    """A request arrives, and a process of Clarion that may declare nothing answers it."""
    asker = await create_broker_user(server, **readme.permissions("send by request"))
    granted = readme.permissions("be a process")
    ours = await create_broker_user(server, **granted | {"configure": "^$"})
    answers, publisher = AnswerPublisher(of(settings, ours), "answers"), Publisher(of(settings, ours), "commands")
    async with await aio_pika.connect(asker) as connection:
        channel = await connection.channel(on_return_raises=True)
        queue = await channel.declare_queue("orders.answers", durable=True)
        await send(channel, TOPOLOGY.requests, CREATE_CONVERSATION)
        for part in (answers.broker, publisher.broker):
            await part.start()
        try:
            await until(lambda: answers.connected and publisher.connected)
            assert await answers.publish(queue.name, b"{}", kind=CREATE_CONVERSATION, correlation_id="17", headers={})
            await publisher.command(PlanBatch(batch_id=7))
        finally:
            for part in (answers.broker, publisher.broker):
                await part.stop()
        answer = await queue.get(no_ack=True)
        assert answer.correlation_id == "17"
        await refused(connection, TOPOLOGY.directory, "user_created")
