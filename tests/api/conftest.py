"""The gateway on a real socket, with the test's database behind it."""

import hashlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api import server
from service.api.app import build_app
from service.api.routing import register
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.classroom import Classroom, Person
from tests.support.databases import server_url
from tests.support.gateway import ECHO, PUBLIC_URL, Api, publishing
from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.ledger import new_prefix
from tests.support.replies import Reply
from tests.support.waiting import until


@pytest.fixture(scope="session")
async def shared_publisher() -> AsyncIterator[tuple[str, Publisher]]:
    """A prefix for the queues that the tests of this process share, and a gateway's connection to the broker.

    No worker listens there, so commands stay unread.
    """
    settings = Settings(database_url=server_url(), amqp_url=os.environ["CLARION_AMQP_URL"], amqp_prefix=new_prefix())
    async with publishing(settings) as publisher:
        yield settings.amqp_prefix, publisher
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


@pytest.fixture
def settings(settings: Settings, shared_publisher: tuple[str, Publisher]) -> Settings:
    """The test's settings, with the queues of this process."""
    prefix, _ = shared_publisher
    return settings.model_copy(update={"amqp_prefix": prefix})


@pytest.fixture
async def broker(shared_publisher: tuple[str, Publisher]) -> Publisher:
    """A gateway's connection to the broker, which one test may have ended."""
    _, publisher = shared_publisher
    await until(lambda: publisher.connected)
    return publisher


@pytest.fixture
def edge_settings(settings: Settings) -> Settings:
    """The test's settings with a public origin of its own, so that absolute URLs can be compared."""
    return settings.model_copy(update={"public_url": PUBLIC_URL})


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[web.Application], Awaitable[aiohttp.ClientSession]]]:
    """Serves an application on a free port; returns a session whose base is that address."""
    undo: list[Callable[[], Awaitable[None]]] = []

    async def start(app: web.Application) -> aiohttp.ClientSession:
        runner = await server.start(app, host="127.0.0.1", port=0)
        session = aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}")
        undo.extend([runner.cleanup, session.close])
        return session

    yield start
    for step in reversed(undo):
        await step()


@pytest.fixture
async def api(
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
) -> Api:
    """The whole gateway, started."""
    app = build_app(edge_settings, pool, broker)
    register(app, ECHO)
    return Api(await serve(app), app, broker)


@pytest.fixture
def client(api: Api) -> aiohttp.ClientSession:
    """A session on the started gateway: ``await client.get("/api/v1/…", headers=await token(user_id))``."""
    return api.session


@pytest.fixture
def token(conn: asyncpg.Connection) -> Callable[..., Awaitable[dict[str, str]]]:
    """Makes a token for a user and returns the Authorization header with it."""
    numbers = itertools.count(1)

    async def make(
        user_id: int,
        *,
        scopes: list[str] | None = None,
        expires_at: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> dict[str, str]:
        text = f"token-{user_id}-{next(numbers)}"
        await conn.execute(
            "INSERT INTO access_tokens (token_hash, user_id, scopes, expires_at, revoked_at)"
            " VALUES ($1, $2, $3, $4, $5)",
            hashlib.sha256(text.encode()).digest(),
            user_id,
            scopes,
            expires_at,
            revoked_at,
        )
        return {"Authorization": f"Bearer {text}"}

    return make


@pytest.fixture
async def classroom(
    client: aiohttp.ClientSession, token: Callable[..., Awaitable[dict[str, str]]], institution: Institution
) -> Classroom:
    """All of them active, with tokens."""
    course = await institution.course("Biology")
    teacher, *students = await institution.users(4)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, students)
    people = [Person(client, await token(user_id), user_id) for user_id in (teacher, *students)]
    return Classroom(course, people[0], people[1:])


@pytest.fixture
def reply(client: aiohttp.ClientSession, token: Callable[..., Awaitable[dict[str, str]]]) -> Reply:
    """Replies as a user: ``await reply(user_id, conversation_id, status, body=…)``; returns the answer's JSON."""

    async def post(user: int, conversation: int | str, status: int = 200, **parts: Any) -> Any:
        path = f"/conversations/{conversation}/add_message"
        return await call(client, await token(user), "POST", path, status=status, json={"body": "Reply", **parts})

    return post
