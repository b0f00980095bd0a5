"""One key, asked for many times at once, at two gateways."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.institution import Institution
from tests.support.processes import Client, Installation, free_port
from tests.support.school import School, make_school

AsUser = Callable[[int], Awaitable[Client]]

AT_ONCE = 50
ROUNDS = 4


@pytest.fixture
def road_settings(road_settings: Settings) -> Settings:
    """A quota that so many requests at once do not use up."""
    return road_settings.model_copy(update={"throttle_maximum": 0})


async def gateways(running: Installation, as_user: AsUser, user_id: int) -> list[Client]:
    """The user at two processes."""
    port = free_port()
    await running.api()
    await running.api(CLARION_PORT=str(port))
    first = await as_user(user_id)
    return [first, first.at(f"http://127.0.0.1:{port}")]


def bulk(school: School, number: int) -> dict[str, Any]:
    to = {"recipients": [f"course_{school.course}"], "context_code": f"course_{school.course}"}
    return {**to, "body": f"round {number}", "mode": "async", "bulk_message": True, "group_conversation": True}


async def test_of_fifty_at_two_gateways_one_makes_a_batch_and_nobody_is_answered_otherwise(
    running: Installation, institution: Institution, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """Each has the first answer, or hears that it is still running; once it is there, all have it."""
    school = await make_school(institution, students=60)
    clients = await gateways(running, as_user, school.teacher)
    for number in range(ROUNDS):
        headers, sent = {"Idempotency-Key": f"round {number}"}, bulk(school, number)

        async def ask(client: Client, headers: dict[str, str] = headers, sent: dict[str, Any] = sent) -> Any:
            return await client.call("POST", "/conversations", headers=headers, json=sent)

        answers = await asyncio.gather(*(ask(clients[n % 2]) for n in range(AT_ONCE)))
        late = await asyncio.gather(*map(ask, clients))

        (batch_id,) = await conn.fetch(
            "SELECT b.id FROM batches b JOIN sends s ON s.id = b.send_id WHERE body = $1", sent["body"]
        )
        statuses = Counter(status for status, _, _ in answers)
        assert set(statuses) <= {202, 409}, statuses
        assert sum("Idempotency-Replayed" not in found for status, _, found in answers if status == 202) == 1
        for status, body, found in [*answers, *late]:
            if status == 202:
                assert (body, found["X-Conversation-Batch-Id"]) == ([], str(batch_id["id"]))
            else:
                assert body == [{"attribute": "idempotency_key", "message": "still running"}]
        assert [found["Idempotency-Replayed"] for _, _, found in late] == ["true", "true"]

    await running.worker()
    for row in await conn.fetch("SELECT id FROM batches"):
        assert (await clients[0].sent(row["id"]))["workflow_state"] == "sent"
    copies = "SELECT count(*) FROM conversation_messages GROUP BY send_id"
    assert [row["count"] for row in await conn.fetch(copies)] == [60] * ROUNDS


async def test_of_fifty_at_two_gateways_one_writes_a_message_at_once(
    running: Installation, institution: Institution, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """Half of them as a form."""
    school = await make_school(institution, students=3)
    clients = await gateways(running, as_user, school.teacher)
    headers = {"Idempotency-Key": '"at once"'}
    student = str(school.students[0])
    ways: list[dict[str, Any]] = [
        {"json": {"recipients": [student], "body": "Hello"}},
        {"data": {"recipients[]": student, "body": "Hello"}},
    ]
    answers = await asyncio.gather(
        *(clients[n % 2].call("POST", "/conversations", headers=headers, **ways[n // 2 % 2]) for n in range(AT_ONCE))
    )

    made = [body for status, body, _ in answers if status == 201]
    assert made
    assert all(body == made[0] for body in made)
    assert {status for status, _, _ in answers} <= {201, 409}
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1
