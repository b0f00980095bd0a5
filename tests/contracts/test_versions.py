"""Consecutive releases understand each other, and a message of an unknown version holds up nothing (service/contracts).

The release before this one is in tests/contracts/previous; bodies of this one are in the golden files.
"""

import asyncio
from pathlib import Path

import aio_pika
import asyncpg
import orjson
import pytest

from service.contracts import commands, directory, examples
from service.contracts.commands import AnyCommand, DeliverChunk
from service.contracts.topology import COMMANDS, CREATE_CONVERSATION, Topology
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.contracts.previous import commands as previous_commands
from tests.contracts.previous import directory as previous_directory
from tests.contracts.previous.topology import Topology as PreviousTopology
from tests.support.broker import BrokerClient
from tests.support.directory_feed import feed
from tests.support.golden_files import body_in
from tests.support.waiting import PATIENCE, until
from workers.amqp_requests import RequestConsumer
from workers.consumer import Consumer
from workers.directory import DirectoryConsumer
from workers.outcome import Done, Outcome

ENCODED = Path(__file__).parent / "previous" / "encoded"
UNKNOWN = 99
EXAMPLES: dict[str, AnyCommand] = {command.name: command for command in examples.COMMANDS}
DELIVER = EXAMPLES["deliver"]


def test_every_kind_of_command_is_looked_at() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    assert {path.stem for path in ENCODED.iterdir()} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_this_release_reads_commands_of_the_previous(name: str) -> None:
    assert commands.parse_command((ENCODED / f"{name}.json").read_bytes()) == EXAMPLES[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_previous_release_reads_commands_of_this_one(name: str) -> None:
    read = previous_commands.parse_command(body_in(f"commands/{name}"))

    assert read.message_id == EXAMPLES[name].message_id
    assert read.model_dump().items() <= EXAMPLES[name].model_dump().items()


@pytest.mark.parametrize("name", COMMANDS)
def test_both_ignore_what_they_do_not_know(name: str) -> None:
    body = orjson.dumps({**EXAMPLES[name].model_dump(), "of_the_next_release": {"x": [1]}})

    assert commands.parse_command(body) == EXAMPLES[name]
    assert previous_commands.parse_command(body).message_id == EXAMPLES[name].message_id


@pytest.mark.parametrize("name", previous_directory.BODIES)
def test_a_feed_made_for_the_previous_release_means_the_same(name: str) -> None:
    event = {**examples.DIRECTORY[name]}
    event["metadata"] = {key: value for key, value in event["metadata"].items() if key != "version"}
    body = orjson.dumps(event)

    before, now = previous_directory.parse_event(body), directory.parse_event(body)

    assert isinstance(before, previous_directory.DirectoryEvent)
    assert isinstance(now, directory.DirectoryEvent)
    assert (now.name, now.time) == (before.name, before.time)
    assert now.body.model_dump(include=before.body.model_fields_set) == before.body.model_dump(
        include=before.body.model_fields_set
    )


@pytest.mark.parametrize("name", directory.BODIES)
def test_a_feed_made_for_this_release_is_read_by_the_previous(name: str) -> None:
    read = previous_directory.parse_event(orjson.dumps(examples.DIRECTORY[name]))

    assert read.name == name


@pytest.mark.parametrize("name", COMMANDS)
def test_queues_of_commands_are_the_same_to_both(name: str) -> None:
    """Else the release that comes second could not declare them."""
    before, now = PreviousTopology("clarion"), Topology("clarion")
    queues = {queue.name: dict(queue.arguments) for queue in now.queues}

    assert (
        queues[before.command_queue(name)]
        == {queue.name: queue.arguments for queue in before.queues}[before.command_queue(name)]
    )
    assert (before.commands, before.dead) == (now.commands, now.dead)


class Handled:
    """Notes what a consumer was given to handle."""

    def __init__(self) -> None:
        self.commands: asyncio.Queue[AnyCommand] = asyncio.Queue()

    async def handle(self, command: AnyCommand) -> Outcome:
        """Nothing else is done."""
        await self.commands.put(command)
        return Done()


async def test_a_consumer_takes_commands_of_both_releases_and_puts_away_those_of_an_unknown_version(
    settings: Settings, publisher: Publisher, outsider: BrokerClient
) -> None:
    handled = Handled()
    consumer = Consumer(settings, DeliverChunk, handled.handle, publisher)
    await consumer.start()
    later = DELIVER.model_copy(update={"position": 13})
    unknown = orjson.dumps({**DELIVER.model_dump(), "version": UNKNOWN})
    try:
        await outsider.publish(unknown)
        await outsider.publish((ENCODED / "deliver.json").read_bytes())
        await publisher.command(later)
        async with asyncio.timeout(PATIENCE):
            assert [await handled.commands.get(), await handled.commands.get()] == [DELIVER, later]
        (letter,) = await outsider.dead_letters(1)
    finally:
        await consumer.drain()

    assert letter.body == unknown
    assert letter.reason == examples.DEAD_LETTER["reason"]
    assert handled.commands.empty()


async def test_an_event_of_the_directory_of_an_unknown_version_is_put_away(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, publisher: Publisher, outsider: BrokerClient
) -> None:
    event = examples.DIRECTORY["user_created"]
    unknown = {"metadata": {**event["metadata"], "version": UNKNOWN}, "body": {**event["body"], "user_id": "43"}}
    following = DirectoryConsumer(settings, pool, publisher)
    await following.start()
    try:
        async with feed(settings) as institution:
            await institution.publish(orjson.dumps(unknown), orjson.dumps(event))
        (letter,) = await outsider.dead_letters(1)
        await until(lambda: known(conn))
    finally:
        await following.drain()

    assert orjson.loads(letter.body) == unknown
    assert "version 99 is not known to this release" in letter.reason
    assert [row["id"] for row in await conn.fetch("SELECT id FROM users")] == [42]


async def known(conn: asyncpg.Connection) -> bool:
    """Whether any user is."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM users)"))


async def test_a_request_of_an_unknown_version_is_put_away_and_answered(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outsider: BrokerClient
) -> None:
    answers = await outsider.channel.declare_queue(exclusive=True)
    unknown = orjson.dumps({**examples.REQUEST, "version": UNKNOWN})
    requests = await outsider.channel.get_exchange(outsider.topology.requests, ensure=False)
    consumer = RequestConsumer(settings, pool, publisher)
    await consumer.start()
    try:
        await requests.publish(aio_pika.Message(unknown, reply_to=answers.name), CREATE_CONVERSATION)
        (letter,) = await outsider.dead_letters(1)
        await outsider.waiting_in(answers.name, 1)
        answer = await answers.get(no_ack=True)
    finally:
        await consumer.drain()

    assert letter.body == unknown
    assert "version 99 is not known to this release" in letter.reason
    assert orjson.loads(answer.body)["status"] == 400
