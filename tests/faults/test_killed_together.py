"""Everything killed at once, as when the power goes: processes, RabbitMQ and PostgreSQL."""

import asyncio
import random
import signal

from deploy.rabbitmq import PrivateRabbitMQ
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.fault_environment import fault_environment, killed_while_delivering
from tests.support.private_servers import kill, own_postgres, queues_on_disk
from tests.support.processes import Process

ROUNDS = 2


async def test_everything_killed_at_once_goes_on_where_it_was(
    small: Settings, server: PrivateRabbitMQ, chance: random.Random
) -> None:
    async with own_postgres() as postgres:
        settings = Settings(**small.model_dump() | {"database_url": postgres.url, "amqp_url": server.url})
        async with fault_environment(settings, students=240) as there:
            for number in range(ROUNDS):
                processes = [await there.running.api(), await there.running.worker(), await there.running.worker()]
                await queues_on_disk(server, settings.amqp_prefix)
                await there.send(there.private() if number else there.bulk())

                async def kill_all(processes: list[Process] = processes) -> None:
                    await asyncio.gather(
                        *(process.stop(signal.SIGKILL) for process in processes), kill(server), kill(postgres)
                    )

                await killed_while_delivering(chance, processes[1], kill_all)
                await asyncio.gather(postgres.ensure(), server.ensure())

            await there.running.worker()
            await there.assert_all_sent()
        async with broker_client(settings) as cleaner:
            await cleaner.delete_topology()
