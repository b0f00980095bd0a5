"""POST to every inbox, over HTTP, RabbitMQ and PostgreSQL, with real processes."""

from collections.abc import Awaitable, Callable

import asyncpg

from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.processes import Client, Installation
from tests.support.school import School

AsUser = Callable[[int], Awaitable[Client]]


def bulk(school: School, **more: object) -> dict[str, object]:
    """An asynchronous send to the whole course."""
    return {
        "recipients": [f"course_{school.course}"],
        "subject": "Field trip",
        "body": "We meet at nine.",
        "group_conversation": True,
        "bulk_message": True,
        "mode": "async",
        "context_code": f"course_{school.course}",
        **more,
    }


async def test_a_bulk_message_reaches_every_inbox(
    running: Installation, school: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """202, the batch to its end, one copy each, and the message where a student looks for it."""
    await running.api()
    await running.worker()
    teacher, student = await as_user(school.teacher), await as_user(school.students[0])

    status, body, headers = await teacher.call("POST", "/conversations", json=bulk(school))
    assert (status, body) == (202, [])
    batch = await teacher.sent(headers["X-Conversation-Batch-Id"])

    assert batch["workflow_state"] == "sent"
    assert batch["completion"] == 1
    assert batch["delivered"] == batch["total"] == batch["recipient_count"] == len(school.students)
    await assert_delivered_once(conn, batch["id"], school.students)
    _, inbox, _ = await student.call("GET", "/conversations")
    assert [(c["subject"], c["last_message"], c["workflow_state"]) for c in inbox] == [
        ("Field trip", "We meet at nine.", "unread")
    ]
    _, count, _ = await student.call("GET", "/conversations/unread_count")
    assert count == {"unread_count": "1"}
    _, shown, _ = await student.call("GET", f"/conversations/{inbox[0]['id']}")
    assert [m["body"] for m in shown["messages"]] == ["We meet at nine."]
    assert shown["private"] is False
    _, sent, _ = await teacher.call("GET", "/conversations?scope=sent&per_page=100")
    assert len(sent) == 100


async def test_accepting_does_not_need_the_broker(
    running: Installation, school: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """With no broker the send is accepted and listed; once there is one, it is delivered."""
    gateway = await running.start("api", CLARION_AMQP_URL="amqp://127.0.0.1:1/")
    await gateway.logged("api_started")
    teacher = await as_user(school.teacher)

    status, _, headers = await teacher.call("POST", "/conversations", json=bulk(school))
    assert status == 202
    _, listed, _ = await teacher.call("GET", "/conversations/batches")
    assert [(b["workflow_state"], b["recipient_count"]) for b in listed] == [("created", 250)]

    await running.worker()
    batch = await teacher.sent(headers["X-Conversation-Batch-Id"])
    await assert_delivered_once(conn, batch["id"], school.students)
    _, listed, _ = await teacher.call("GET", "/conversations/batches")
    assert listed == []


async def test_a_private_bulk_send_reuses_the_threads_of_the_one_before(
    running: Installation, school: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """Two sends leave one thread per pair with two messages, also when they race."""
    running.settings = running.settings.model_copy(update={"max_bulk_private_recipients": 1000})
    await running.api()
    await running.worker()
    await running.worker()
    teacher = await as_user(school.teacher)
    private = bulk(school, group_conversation=False, bulk_message=False)

    answers = [await teacher.call("POST", "/conversations", json=private) for _ in range(2)]
    assert [(status, body) for status, body, _ in answers] == [(202, []), (202, [])]
    batches = [await teacher.sent(headers["X-Conversation-Batch-Id"]) for _, _, headers in answers]

    for batch in batches:
        await assert_delivered_once(conn, batch["id"], school.students)
    assert await conn.fetchval("SELECT count(*) FROM conversations") == len(school.students)
    assert await conn.fetchval("SELECT count(*) FROM messages") == len(school.students)
    assert {r["error"] for r in await conn.fetch("SELECT error FROM chunks")} == {None}
