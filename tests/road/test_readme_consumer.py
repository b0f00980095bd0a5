"""The consumer that service/contracts/README.md shows, run as it is printed."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from service.runtime.settings import Settings
from tests.support import readme
from tests.support.broker import BrokerClient, broker_client
from tests.support.processes import Client, Installation, environment
from tests.support.school import School
from tests.support.waiting import PATIENCE, until


@pytest.fixture
async def operator(road_settings: Settings) -> AsyncIterator[BrokerClient]:
    """Looks at the queue of the consumer, and removes it in the end with all others."""
    async with broker_client(road_settings) as made:
        yield made
        await made.channel.queue_delete(queue_of(made))
        await made.delete_topology()


def queue_of(operator: BrokerClient) -> str:
    """The queue that the program makes."""
    return f"{operator.topology.events}.archive"


async def test_it_prints_what_happens(
    running: Installation, school: School, as_user: Callable[[int], Awaitable[Client]], operator: BrokerClient
) -> None:
    await running.api()
    await running.start("worker", "--only", "relay")
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", readme.consumer()),
        env=environment(running.settings),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: listens(running.settings))
        teacher = await as_user(school.teacher)
        status, (conversation,), _ = await teacher.call(
            "POST", "/conversations", json={"recipients": [str(school.students[0])], "body": "Hello"}
        )
        assert status == 201
        assert program.stdout is not None
        async with asyncio.timeout(PATIENCE):
            lines = [await program.stdout.readline(), await program.stdout.readline()]
    finally:
        program.terminate()
        await program.wait()

    (created_id, created), (message_id, message) = [line.split(b" ", 1) for line in lines]
    assert created_id.decode() == f"conversation_created.{conversation['id']}"
    assert orjson.loads(created)["body"]["conversation_id"] == str(conversation["id"])
    assert message_id.decode() == f"conversation_message_created.{conversation['messages'][0]['id']}"
    assert orjson.loads(message)["body"]["author_id"] == str(school.teacher)


async def listens(settings: Settings) -> bool:
    """Whether the program consumes its queue, which it has bound before."""
    async with broker_client(settings) as made:
        try:
            queue = await made.channel.declare_queue(queue_of(made), passive=True)
        except ChannelNotFoundEntity:
            return False
        return bool(queue.declaration_result.consumer_count)
