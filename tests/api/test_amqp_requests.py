"""A neighbour's request and POST /conversations, given the same body: the same status and the same answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.institution import Institution
from tests.support.request_client import RequestClient, request_client
from tests.support.school import School
from tests.support.waiting import until
from workers.amqp_requests import RequestConsumer

Token = Callable[..., Awaitable[dict[str, str]]]
Both = Callable[[str, dict[str, Any]], Awaitable[int]]

BATCH = "X-Conversation-Batch-Id"

TIMES = {"created_at", "last_message_at", "last_authored_message_at"}
# Whatever a message leaves behind.
WRITTEN = (
    "conversations", "messages", "message_views", "participants", "sends", "media_objects", "journal_entries",
    "batches", "chunks", "outbox",
)  # fmt: skip


@pytest.fixture
async def neighbour(edge_settings: Settings, pool: asyncpg.Pool, broker: Publisher) -> AsyncIterator[RequestClient]:
    """Asks a worker that stands beside the gateway."""
    consumer = RequestConsumer(edge_settings, pool, broker)
    await consumer.start()
    await until(lambda: consumer.broker.connected)
    async with request_client(edge_settings) as made:
        yield made
    await consumer.drain()


@pytest.fixture
async def people(school: School, institution: Institution) -> dict[str, Any]:
    """What the cases below name."""
    over = await institution.course("Latin", state="completed")
    await institution.enroll(over, school.teacher, "Teacher")
    await institution.enroll(over, school.students[:1])
    tag = await institution.group(course=school.course, tag=True, members=school.students[:2])
    first, second, third, *_ = (str(student) for student in school.students)
    return {
        "me": str(school.teacher),
        "first": first,
        "second": second,
        "third": third,
        "uuid": f"uuid:uuid-{first}",
        "all": [str(student) for student in school.students[:101]],
        "course": f"course_{school.course}",
        "students": f"course_{school.course}_students",
        "teachers": f"course_{school.course}_teachers",
        "over": f"course_{over}",
        "tag": f"differentiation_tag_{tag}",
    }


BULK = {"group_conversation": True, "bulk_message": True}

# By the teacher. "$name" stands for one of people.
ACCEPTED: dict[str, dict[str, Any]] = {
    "private": {"recipients": ["$first"], "body": "Hello", "subject": "Hi"},
    "in a context": {"recipients": ["$first"], "body": "Hello", "context_code": "$course", "tags": ["$course"]},
    "comma-separated": {"recipients": "$first,$second", "body": "Hello"},
    "bracket keys": {"recipients[]": ["$first", "$second"], "body": "Hello", "group_conversation": "1"},
    "group": {"recipients": ["$first", "$second", "$third"], "body": "Hello", "group_conversation": True},
    "bulk private": {"recipients": ["$first", "$second"], "body": "Hello", "user_note": True},
    "bulk separate": {"recipients": ["$first", "$second"], "body": "Hello", **BULK},
    "force_new": {"recipients": ["$first"], "body": "Hello", "force_new": "yes"},
    "the whole course, later": {"recipients": ["$course"], "body": "Hello", "mode": "async", **BULK},
    "a differentiation tag": {"recipients": ["$tag"], "body": "Hello", **BULK},
    "to oneself": {"recipients": ["$me"], "body": "Hello"},
    "with uuids": {"recipients": ["$uuid"], "body": "Hello", "include": ["uuid"]},
    "where it looks": {"recipients": ["$first"], "body": "Hello", "scope": "sent", "no_avatar_fallback": True},
    "a recording": {"recipients": ["$first"], "body": "x", "media_comment_id": "m-1", "media_comment_type": "audio"},
    "ids no one has": {"recipients": ["$first", "9" * 40], "body": "x", "attachment_ids": [1, "9" * 40]},
    "nested nonsense": {"recipients": ["$first"], "body": "Hello", "subject": {"a": 1}, "tags": [["x"]], "mode": []},
}
REFUSED: dict[str, dict[str, Any]] = {
    "nothing at all": {},
    "no recipients": {"body": "x"},
    "null recipients": {"recipients": None, "body": "x"},
    "unknown recipient": {"recipients": ["999999999999"], "body": "x"},
    "no body": {"recipients": ["$first"]},
    "blank body": {"recipients": ["$first"], "body": " \n"},
    "display_from": {"recipients": ["$first"], "body": "x", "display_from": "The head"},
    "unknown course": {"recipients": ["$first"], "body": "x", "context_code": "course_424242"},
    "no context": {"recipients": ["$first"], "body": "x", "context_code": "user_1"},
    "a number among recipients": {"recipients": ["$first", 7], "body": "x"},
    "too many": {"recipients": "$all", "body": "x"},
    "long subject": {"recipients": ["$first"], "body": "x", "subject": "s" * 256},
    "long body": {"recipients": ["$first"], "body": "x" * 65_536},
    "unknown filter_mode": {"recipients": ["$first"], "body": "x", "filter_mode": "xor"},
    "a tag for all to see": {"recipients": ["$tag"], "body": "x", "group_conversation": True},
    "messages of others": {"recipients": ["$first"], "body": "x", "forwarded_message_ids": [1]},
}
# By the first student.
REFUSED_TO_STUDENTS: dict[str, dict[str, Any]] = {
    "the course": {"recipients": ["$course"], "body": "x"},
    "all students": {"recipients": ["$teachers", "$students"], "body": "x"},
    "a tag": {"recipients": ["$tag"], "body": "x"},
    "an account": {"recipients": ["$me"], "body": "x", "context_code": "account_1"},
    "a course that is over": {"recipients": ["$me"], "body": "x", "context_code": "$over"},
}


def named(value: Any, people: dict[str, Any]) -> Any:
    """The value with the people in it."""
    if isinstance(value, dict):
        return {key: named(item, people) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item, people) for item in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    if value.removeprefix("$") in people:
        return people[value.removeprefix("$")]
    return ",".join(str(named(part, people)) for part in value.split(","))


def alike(body: Any) -> Any:
    """The answer without ids of conversations and messages, and moments: those are new each time."""
    shown = deepcopy(body)
    for conversation in shown if isinstance(shown, list) else ():
        for written in (conversation, *conversation.get("messages", ())):
            for key in written.keys() & {"id", *TIMES}:
                written[key] = type(written[key]).__name__
    return shown


async def forget(conn: asyncpg.Connection) -> dict[str, int]:
    """Removes every trace of messages; how many rows they were."""
    return {table: int((await conn.execute(f"DELETE FROM {table}")).removeprefix("DELETE ")) for table in WRITTEN}


@pytest.fixture
def both(client: aiohttp.ClientSession, neighbour: RequestClient, conn: asyncpg.Connection, token: Token) -> Both:
    """Asks in both ways, as a user; the status, when both have answered alike and left as many rows."""

    async def ask(user_id: str, request: dict[str, Any]) -> int:
        body = {"as_user_id": user_id, "idempotency_key": "any", **request}
        async with client.post("/api/v1/conversations", headers=await token(int(user_id)), json=body) as response:
            status, shown, headers = response.status, await response.json(), response.headers
        left = await forget(conn)
        answer = await neighbour.ask(body)
        assert (answer.status, alike(answer.body)) == (status, alike(shown))
        assert (BATCH in answer.headers) == (BATCH in headers)
        assert await forget(conn) == left
        return status

    return ask


@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_is_accepted(case: str, both: Both, people: dict[str, Any]) -> None:
    assert await both(people["me"], named(ACCEPTED[case], people)) == (202 if "later" in case else 201)


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused(case: str, both: Both, people: dict[str, Any]) -> None:
    assert await both(people["me"], named(REFUSED[case], people)) in (400, 404)


@pytest.mark.parametrize("case", REFUSED_TO_STUDENTS)
async def test_what_is_refused_to_students(case: str, both: Both, people: dict[str, Any]) -> None:
    assert await both(people["first"], named(REFUSED_TO_STUDENTS[case], people)) == 400


async def test_a_key_is_one_in_both_ways(
    client: aiohttp.ClientSession, neighbour: RequestClient, conn: asyncpg.Connection, token: Token, school: School
) -> None:
    """Whoever does not know what became of a request may ask in the other way."""
    student = str(school.students[0])
    body = {"recipients": [student], "body": "Hello", "force_new": True}
    request = {"as_user_id": school.teacher, **body}
    form = aiohttp.FormData([("recipients[]", student), ("body", "Hello"), ("force_new", "true")])

    async def over_http(key: str, **sent: Any) -> tuple[int, bytes, str | None]:
        headers = await token(school.teacher) | {"Idempotency-Key": key}
        async with client.post("/api/v1/conversations", headers=headers, **sent) as response:
            assert response.content_type == "application/json"
            return response.status, await response.read(), response.headers.get("Idempotency-Replayed")

    asked = await neighbour.ask({**request, "idempotency_key": "first here"})
    assert await over_http("first here", data=form) == (201, orjson.dumps(asked.body), "true")
    first = await over_http("first there", json=body)
    again = await neighbour.ask({**request, "idempotency_key": "first there"})
    assert (again.status, orjson.dumps(again.body), again.replayed) == (201, first[1], True)
    assert "Content-Type" not in again.headers
    assert (await neighbour.ask({**request, "idempotency_key": "first there", "body": "Goodbye"})).status == 422
    assert await conn.fetchval("SELECT count(*) FROM sends") == 2
