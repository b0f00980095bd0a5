"""Workers and servers killed at any moment of a request from another system: one send for each key, and an answer."""

import asyncio
import random
import signal
from collections import defaultdict
from functools import partial
from typing import Any

import orjson

from deploy.rabbitmq import PrivateRabbitMQ
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.chance import as_often
from tests.support.fault_environment import FaultEnvironment, fault_environment
from tests.support.private_servers import kill, own_postgres, queues_on_disk
from tests.support.processes import Process
from tests.support.request_client import Answer, RequestClient, request_client
from tests.support.waiting import until

ROUNDS = as_often(4)
KEYS = 6  # of each round
TIMES = 2  # that each is asked


async def start(there: FaultEnvironment) -> Process:
    """A worker of its own process; returns when it is at work, or nearly."""
    process = await there.running.start("worker", "--only", "requests")
    await process.logged('"connection": "clarion-requests", "event": "broker_connected"')
    return process


def request(there: FaultEnvironment, number: int) -> dict[str, Any]:
    """Of every kind of send in turn; the body is the key."""
    students = [str(student) for student in there.school.students]
    kinds: list[dict[str, Any]] = [
        {"recipients": students[:1]},
        {"recipients": students[:3], "group_conversation": True},
        {"recipients": students[:20]},
        {**there.bulk()},
    ]
    key = f"request {number}"
    return {**kinds[number % len(kinds)], "as_user_id": there.school.teacher, "idempotency_key": key, "body": key}


async def ask(there: FaultEnvironment, asking: RequestClient, numbers: range) -> set[str]:
    """Publishes each request twice, confirmed; returns their keys."""
    requests = [request(there, number) for number in numbers]
    for each in requests * TIMES:
        await asking.publish(orjson.dumps(each), correlation_id=each["idempotency_key"])
    return {each["idempotency_key"] for each in requests}


def by_key(asking: RequestClient) -> dict[str, list[Answer]]:
    """Every answer so far."""
    found: defaultdict[str, list[Answer]] = defaultdict(list)
    for answer in asking.answers:
        found[str(answer.correlation_id)].append(answer)
    return found


def _more(asking: RequestClient, before: int) -> bool:
    return len(asking.answers) > before


async def test_workers_killed_at_random_moments_send_once_for_each_key(
    there: FaultEnvironment, chance: random.Random
) -> None:
    workers, keys = [await start(there), await start(there)], set[str]()
    async with request_client(there.running.settings) as asking:
        for number in range(ROUNDS):
            before = len(asking.answers)
            keys |= await ask(there, asking, range(number * KEYS, (number + 1) * KEYS))
            await until(partial(_more, asking, before))
            await asyncio.sleep(chance.uniform(0, 0.1))
            victim = chance.randrange(len(workers))
            await workers[victim].stop(signal.SIGKILL)
            workers[victim] = await start(there)

        await _all_answered(asking, keys)
        assert [await worker.stop() for worker in workers] == [0, 0]
        await asking.waiting(0)

    await _assert_one_send_each(there, keys)


async def test_a_database_killed_in_the_middle_is_only_a_delay(small: Settings, chance: random.Random) -> None:
    """Some commits have an unknown outcome: their keys show it."""
    async with own_postgres() as postgres:
        settings = Settings(**small.model_dump() | {"database_url": postgres.url})
        async with fault_environment(settings, students=40) as there:
            await start(there)
            async with request_client(settings) as asking:
                keys = await ask(there, asking, range(40))
                await until(lambda: len(asking.answers) >= chance.randint(1, 20))
                await kill(postgres)
                await postgres.ensure()
                await _all_answered(asking, keys)
                await _assert_one_send_each(there, keys)
        async with broker_client(settings) as cleaner:
            await cleaner.delete_topology()


async def test_a_broker_killed_in_the_middle_is_only_a_delay(
    small: Settings, server: PrivateRabbitMQ, chance: random.Random
) -> None:
    """A request confirmed to its sender is carried out; an answer confirmed to the worker is there."""
    settings = Settings(**small.model_dump() | {"amqp_url": server.url})
    answers = f"{settings.amqp_prefix}-answers"
    async with fault_environment(settings, students=40) as there:
        worker = await start(there)
        async with request_client(settings, durable=answers) as asking:
            await queues_on_disk(server, settings.amqp_prefix)
            keys = await ask(there, asking, range(40))
            await until(lambda: len(asking.answers) >= chance.randint(1, 20))
            await kill(server)
        await worker.logged("broker_lost")
        await server.ensure()
        async with request_client(settings, durable=answers) as again:
            again.answers += asking.answers
            await _all_answered(again, keys, times=1)
            await again.waiting(0)
        await _assert_one_send_each(there, keys)
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()
        await cleaner.channel.queue_delete(answers)


async def _all_answered(asking: RequestClient, keys: set[str], *, times: int = TIMES) -> None:
    """Each as often as it was asked, or more: what was answered and not acknowledged is answered once more."""

    def answered() -> bool:
        found = by_key(asking)
        return found.keys() == keys and all(len(answers) >= times for answers in found.values())

    await until(answered)
    for answers in by_key(asking).values():
        assert len({(answer.status, orjson.dumps(answer.body)) for answer in answers}) == 1
        assert answers[0].status in (201, 202)


async def _assert_one_send_each(there: FaultEnvironment, keys: set[str]) -> None:
    async with there.look() as conn:
        assert sorted(row["body"] for row in await conn.fetch("SELECT body FROM sends")) == sorted(keys)
        answered = await conn.fetch("SELECT key FROM idempotency_keys WHERE status IS NOT NULL")
        assert {row["key"] for row in answered} == keys
        copies = await conn.fetch(
            "SELECT s.body, count(*) AS copies FROM conversation_messages m JOIN sends s ON s.id = m.send_id"
            " GROUP BY s.body"
        )
        wanted = {f"request {number}": (1, 1, 20)[number % 4] for number in range(len(keys)) if number % 4 < 3}
        assert {row["body"]: row["copies"] for row in copies} == wanted
        assert await conn.fetchval("SELECT count(*) FROM batches WHERE state = 'created'") == len(keys) // 4
    async with broker_client(there.running.settings) as operator:
        await operator.waiting_in(operator.topology.dead, 0)
