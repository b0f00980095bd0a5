"""Replies to a conversation of many, over HTTP, RabbitMQ and PostgreSQL, with real processes."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import asyncpg

from tests.support.conversations import Threads
from tests.support.participants import messages_of, participant_rows
from tests.support.processes import Client, Installation
from tests.support.school import School
from tests.support.waiting import PATIENCE

AsUser = Callable[[int], Awaitable[Client]]
REPLIES = [f"Reply {n}" for n in range(30)]


async def post(clients: list[Client], conversation: int) -> None:
    """The replies, one after the other, by turns; all are accepted for later."""
    for n, body in enumerate(REPLIES):
        client = clients[n % len(clients)]
        status, shown, _ = await client.call("POST", f"/conversations/{conversation}/add_message", json={"body": body})
        assert status == 202
        assert [(m["id"], m["body"]) for m in shown["messages"]] == [(0, body)]


async def all_delivered(client: Client, conversation: int) -> None:
    """Returns once the client sees every reply, asking over and over."""
    async with asyncio.timeout(PATIENCE):
        while True:
            _, shown, _ = await client.call("GET", f"/conversations/{conversation}")
            if shown["message_count"] > len(REPLIES):
                return


async def assert_whole(conn: asyncpg.Connection, conversation: int, people: list[int]) -> None:
    """Everybody has every reply once, in the order in which they were posted, and nothing waits."""
    for user in people:
        bodies = [body for _, body in await messages_of(conn, conversation, user)]
        assert bodies == ["Hello, all", *REPLIES]
    counts = {user: row["message_count"] for user, row in (await participant_rows(conn, conversation)).items()}
    assert counts == dict.fromkeys(people, len(REPLIES) + 1)
    assert await conn.fetchval("SELECT count(*) FROM pending_replies") == 0


async def test_replies_keep_their_order_though_a_worker_dies(
    running: Installation, threads: Threads, school: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """One is killed with the line half delivered, two others go on together."""
    await running.api()
    people = [school.teacher, *school.students[:119]]
    conversation = await threads.group(school.teacher, people[1:])
    teacher, student = await as_user(school.teacher), await as_user(people[1])

    await post([teacher, student], conversation)
    doomed = await running.worker()
    await doomed.logged("reply_delivered")
    await doomed.stop(signal.SIGKILL)
    left = await conn.fetchval("SELECT count(*) FROM pending_replies")
    await running.worker()
    await running.worker()
    await all_delivered(teacher, conversation)

    assert 0 < left < len(REPLIES)
    await assert_whole(conn, conversation, people)
    _, shown, _ = await student.call("GET", f"/conversations/{conversation}?auto_mark_as_read=0")
    assert [m["body"] for m in shown["messages"]] == [*reversed(REPLIES), "Hello, all"]
    assert shown["last_message"] == REPLIES[-1]


async def test_replies_accepted_without_a_broker_are_swept_up(
    running: Installation, threads: Threads, school: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    gateway = await running.start("api", CLARION_AMQP_URL="amqp://127.0.0.1:1/")
    await gateway.logged("api_started")
    people = [school.teacher, *school.students[:119]]
    conversation = await threads.group(school.teacher, people[1:])
    teacher = await as_user(school.teacher)

    await post([teacher], conversation)
    await running.worker()
    await all_delivered(teacher, conversation)

    await assert_whole(conn, conversation, people)
