"""RabbitMQ killed in the middle of sends, and right after its queues were declared."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from deploy.binaries import find_rabbitmq
from deploy.rabbitmq import PrivateRabbitMQ
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.chance import as_often
from tests.support.fault_environment import FaultEnvironment, fault_environment, killed_while_delivering, logged
from tests.support.private_servers import kill, queues_on_disk
from tests.support.processes import CONNECTIONS, Process

ROUNDS = as_often(2)
LOST = "the queue is lost: delete it"


@pytest.fixture
async def there(small: Settings, server: PrivateRabbitMQ) -> AsyncIterator[FaultEnvironment]:
    """A course of 240 whose commands go through a broker that may be killed."""
    settings = Settings(**small.model_dump() | {"amqp_url": server.url})
    async with fault_environment(settings, students=240) as made:
        yield made
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


async def test_a_broker_killed_in_the_middle_of_sends_loses_and_doubles_nothing(
    there: FaultEnvironment, server: PrivateRabbitMQ, chance: random.Random
) -> None:
    gateway = await there.running.api()
    worker = await there.running.worker()
    other = await there.running.worker()
    await queues_on_disk(server, there.running.settings.amqp_prefix)

    for number in range(ROUNDS):
        await gateway.logged("broker_connected", times=number + 1)  # it waits longer between attempts than the workers
        await there.send(there.private() if number % 2 else there.bulk())
        await killed_while_delivering(chance, worker, lambda: kill(server))
        await gateway.logged("broker_lost", times=number + 1)
        status, answer, _ = await there.readiness()
        assert (status, answer["status"], answer["degraded"]) == (200, "degraded", ["broker"])
        await there.send(there.bulk(subject="Accepted meanwhile"))
        await server.ensure()

    await there.assert_all_sent()
    await there.until("SELECT count(*) = 0 FROM outbox")
    assert await gateway.stop() == 0
    assert await worker.stop() == 0
    assert await other.stop() == 0


async def test_a_command_for_a_broker_that_is_gone_leaves_no_dump_where_it_was_called(
    server: PrivateRabbitMQ, tmp_path: Path
) -> None:
    """Its program crashes where it finds no home, and else dumps into the folder of the caller, the checkout."""
    found = find_rabbitmq()
    assert found is not None
    environment = psutil.Process(server.process.facts()["pid"]).environ() | {"HOME": str(tmp_path / "gone")}
    process = await asyncio.create_subprocess_exec(
        found.script.with_name("rabbitmqctl"),
        "status",
        cwd=tmp_path,
        env=environment,
        stderr=asyncio.subprocess.DEVNULL,
    )

    assert await process.wait() != 0
    assert os.listdir(tmp_path) == []
    assert environment["ERL_CRASH_DUMP"] == str(server.home / "erl_crash.dump")  # that of RabbitMQ 4 does not crash


async def follow_advice(worker: Process, settings: Settings) -> None:
    """Deletes what only an operator may: queues with messages of other systems in them."""
    followed = 0
    async with broker_client(settings) as operator:
        while True:
            await worker.logged(LOST, times=followed + 1)
            for line in logged(worker, LOST)[followed:]:
                await operator.channel.queue_delete(json.loads(line)["queue"])
                followed += 1


async def test_queues_that_come_back_without_a_leader_are_replaced(
    there: FaultEnvironment, server: PrivateRabbitMQ
) -> None:
    """Killed within a second of their declaration, some are declared after the restart and never answer."""
    worker = await there.running.start("worker")
    await worker.logged("broker_connected")
    await kill(server)
    await worker.logged("broker_lost")
    before = len(logged(worker, "broker_connected"))
    await server.ensure()

    operator = asyncio.create_task(follow_advice(worker, there.running.settings))
    await worker.logged("broker_connected", times=before + CONNECTIONS)
    operator.cancel()

    await there.running.api()
    await there.send(there.bulk())
    await there.assert_all_sent()
    assert await worker.stop() == 0
