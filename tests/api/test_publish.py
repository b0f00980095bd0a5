"""What the gateway accepts for later, it commands at once, and without a broker accepts it all the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api import server
from service.api.app import build_app
from service.contracts.commands import AnyCommand, DeliverReply, PlanBatch, UpdateConversations
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient, broker_client
from tests.support.conversations import Threads
from tests.support.gateway import Api, publishing, publishing_nowhere
from tests.support.http_calls import call
from tests.support.ledger import new_prefix
from tests.support.school import School
from tests.support.waiting import until

Token = Callable[..., Awaitable[dict[str, str]]]
Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Queues of the test's own, so that a command is found. Replies are queued from three participants on."""
    own = new_prefix()
    return settings.model_copy(update={"amqp_prefix": own, "queued_reply_participants": 3})


@pytest.fixture
async def broker(settings: Settings) -> AsyncIterator[Publisher]:
    """A gateway's connection to the broker, for these queues."""
    async with publishing(settings) as publisher:
        yield publisher


@pytest.fixture
async def outside(settings: Settings, api: Api) -> AsyncIterator[BrokerClient]:
    """A look at the gateway's queues; removes them in the end."""
    async with broker_client(settings) as made:
        yield made
        await made.delete_topology()


async def commanded(outside: BrokerClient, name: str) -> bytes:
    """The body of the one command of that name."""
    await outside.waiting(name, 1)
    queue = await outside.channel.get_queue(outside.topology.command_queue(name), ensure=False)
    message = await queue.get(no_ack=True)
    return message.body


async def send_in_bulk(client: aiohttp.ClientSession, headers: dict[str, str], school: School) -> None:
    to = [str(student) for student in school.students[:3]]
    sent = {"recipients": to, "body": "Hello", "mode": "async"}
    assert await call(client, headers, "POST", "/conversations", status=202, json=sent) == []


async def test_a_bulk_send(client: aiohttp.ClientSession, token: Token, school: School, outside: BrokerClient) -> None:
    headers = await token(school.teacher)
    await send_in_bulk(client, headers, school)
    (batch,) = await call(client, headers, "GET", "/conversations/batches")

    command = PlanBatch.model_validate_json(await commanded(outside, "plan"))

    assert command.batch_id == batch["id"]


async def test_a_batch_update(
    client: aiohttp.ClientSession, token: Token, school: School, outside: BrokerClient
) -> None:
    sent = {"conversation_ids": [7], "event": "star"}
    progress = await call(client, await token(school.teacher), "PUT", "/conversations", json=sent)

    command = UpdateConversations.model_validate_json(await commanded(outside, "update"))

    assert command.progress_id == progress["id"]


async def test_a_reply_to_many(
    *,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    threads: Threads,
    outside: BrokerClient,
    conn: asyncpg.Connection,
) -> None:
    conversation = await threads.group(school.teacher, school.students[:3])
    path = f"/conversations/{conversation}/add_message"
    await call(client, await token(school.teacher), "POST", path, status=202, json={"body": "Later"})

    command = DeliverReply.model_validate_json(await commanded(outside, "reply"))

    assert command.reply_id == await conn.fetchval("SELECT id FROM pending_replies")


class SlowPublisher(Publisher):
    """Its commands are on their way until ``release`` is set."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "test")
        self.release = asyncio.Event()
        self.steps: list[str] = []

    async def command(self, command: AnyCommand) -> None:
        await self.release.wait()
        await super().command(command)
        self.steps.append("published")


async def test_a_gateway_that_stops_waits_for_commands_on_their_way(
    *, settings: Settings, pool: asyncpg.Pool, token: Token, school: School, outside: BrokerClient
) -> None:
    publisher = SlowPublisher(settings)
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    app = build_app(settings, pool, publisher)

    async def stopping(_: web.Application) -> None:
        publisher.release.set()

    async def stopped(_: web.Application) -> None:
        publisher.steps.append("stopped")

    app.on_cleanup.insert(0, stopping)
    app.on_cleanup.append(stopped)
    runner = await server.start(app, host="127.0.0.1", port=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        await send_in_bulk(client, await token(school.teacher), school)
    await runner.cleanup()
    await publisher.broker.stop()

    assert publisher.steps == ["published", "stopped"]
    assert await commanded(outside, "plan")


async def test_without_a_broker_it_is_accepted_and_left_to_the_sweeper(
    *,
    edge_settings: Settings,
    pool: asyncpg.Pool,
    serve: Serve,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
) -> None:
    async with publishing_nowhere(edge_settings) as broker:
        client = await serve(build_app(edge_settings, pool, broker))
        headers = await token(school.teacher)

        await send_in_bulk(client, headers, school)
        sent = {"conversation_ids": [7], "event": "star"}
        progress = await call(client, headers, "PUT", "/conversations", json=sent)

    assert progress["workflow_state"] == "queued"
    soon = "due_at BETWEEN now() AND now() + interval '6 s'"
    assert await conn.fetchval("SELECT count(*) FROM chunks WHERE state = 'pending' AND due_at = 'infinity'") == 1
    assert await conn.fetchval(f"SELECT count(*) FROM batch_updates WHERE state = 'queued' AND {soon}") == 1
