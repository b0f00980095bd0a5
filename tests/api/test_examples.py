"""The examples of the OpenAPI document are requests that were made, and what was answered.

``CLARION_GOLDEN=write`` records them anew, as it does golden files; look at the difference.
"""

import os
import re
from collections.abc import Awaitable, Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import orjson
import pytest

from service.api import examples
from service.api.app import MODULES
from service.api.examples import FILE, Example
from service.api.openapi import operation_id
from service.domain.dates import iso
from service.runtime.settings import Settings
from sql.chunks import fail_chunk
from tests.support.event_streams import EventStream
from tests.support.golden_files import WRITE
from tests.support.institution import Institution
from tests.support.school import School, make_school

Token = Callable[..., Awaitable[dict[str, str]]]

PATHS = {operation_id(route): (route.method, route.path) for route in chain.from_iterable(m.routes for m in MODULES)}

_TIME = re.compile(rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"')
_WHEN = b'"2026-01-01T09:00:00Z"'
_OF_THE_CLOCK = re.compile(rb'("completion"|"recipients_per_second"):0\.[0-9.e-]+')


class Step(NamedTuple):
    """One request. ``of``: the noun whose newest id stands in the path."""

    operation: str
    summary: str
    status: int
    parameters: dict[str, Any]
    of: str | None = None
    by: str = "teacher"


@pytest.fixture
def edge_settings(edge_settings: Settings) -> Settings:
    """Replies to four people are queued."""
    return edge_settings.model_copy(update={"queued_reply_participants": 4})


def steps(school: School, tomorrow: str) -> list[Step]:
    """In the order in which they are made."""
    course, (first, second, third, *_) = f"course_{school.course}", map(str, school.students)
    bulk = {
        "recipients": [f"{course}_students"],
        "subject": "Welcome",
        "body": "The first lecture is on Monday at nine.",
        "group_conversation": True,
        "bulk_message": True,
        "mode": "async",
        "context_code": course,
    }
    to_one = {"recipients": [first], "subject": "Your essay", "body": "See me after class.", "context_code": course}
    group = {"recipients": [first, second], "subject": "Project", "body": "You are a team.", "group_conversation": True}
    return [
        Step("post_conversations", "To everybody in a course", 202, bulk),
        Step("post_conversations", "To one person", 201, to_one),
        Step("post_conversations", "To a group", 201, group, of="+conversation"),
        Step("get_conversations_batches", "Under way", 200, {"per_page": 10}),
        Step("get_conversations_batches", "Of two states", 200, {"state": ["created", "sent"]}),
        Step("get_conversations_batches_id", "Under way", 200, {}, of="batch"),
        Step("get_conversations_batches_id_events", "The first event", 200, {}, of="batch"),
        Step("get_conversations_batches_id_recipients", "Who waits", 200, {"state": "pending"}, of="batch"),
        Step("post_conversations_batches_id_pause", "Under way", 200, {}, of="batch"),
        Step("post_conversations_batches_id_resume", "Paused", 200, {}, of="batch"),
        Step("post_conversations_batches_id_retry", "In error", 200, {}, of="batch"),
        Step("post_conversations_batches_id_cancel", "Under way", 200, {}, of="batch"),
        Step("post_conversations", "A dry run", 200, bulk | {"recipients": [course, "4711"], "dry_run": True}),
        Step("post_conversations", "Tomorrow", 202, bulk | {"send_at": tomorrow}),
        Step("get_conversations_batches", "Scheduled", 200, {"state": ["scheduled"]}),
        Step("put_conversations_batches_id", "Another time", 200, {"send_at": tomorrow}, of="batch"),
        Step("post_conversations_id_add_message", "A reply", 200, {"body": "Any questions?"}, of="conversation"),
        Step("post_conversations_id_add_recipients", "One more", 200, {"recipients": [third]}, of="conversation"),
        Step("post_conversations_id_add_message", "Queued", 202, {"body": "Welcome!"}, of="conversation"),
        Step("get_conversations", "Those sent", 200, {"scope": "sent", "filter": [course], "per_page": 2}),
        Step("get_conversations_unread_count", "None", 200, {}),
        Step("get_conversations_id", "With its messages", 200, {}, of="conversation"),
        Step("put_conversations_id", "A star", 200, {"conversation": {"starred": True}}, of="conversation"),
        Step("post_conversations_id_remove_messages", "The newest", 200, {"remove": ["message"]}, of="conversation"),
        Step("put_conversations", "To the archive", 200, {"conversation_ids": ["conversation"], "event": "archive"}),
        Step("get_progress_id", "Waiting", 200, {}, of="progress"),
        Step("post_progress_id_cancel", "Waiting", 200, {"message": "Not needed any more"}, of="progress"),
        Step("get_search_recipients", "By name", 200, {"search": "user 102", "context": course}),
        Step("get_conversations_find_recipients", "By name", 200, {"search": "user 102", "context": course}),
        Step("get_users_self", "A teacher", 200, {}),
        Step("post_conversations_mark_all_as_read", "All", 200, {}),
        Step("delete_conversations_id", "From one's own view", 200, {}, of="conversation"),
        Step("get_conversations_deleted", "Of one user", 200, {"user_id": [str(school.teacher)]}, by="admin"),
        Step(
            "put_conversations_restore",
            "One message",
            200,
            {"message_id": "message", "user_id": str(school.teacher), "conversation_id": "conversation"},
            by="admin",
        ),
        Step("delete_conversations_id_delete_for_all", "For everybody", 200, {}, of="conversation", by="admin"),
    ]


def query(example: Example) -> list[tuple[str, Any]]:
    """Its parameters in a URL."""
    flat = example.flat().items()
    return [(name, each) for name, value in flat for each in (value if isinstance(value, list) else [value])]


async def prepare(conn: asyncpg.Connection, path: str, found: dict[str, int]) -> None:
    """Does what has to come before a request and is none: only what has failed can be tried again."""
    if path.endswith("/retry"):
        await fail_chunk(conn, found["batch"], 0, error="as workers give it up", cause=None)


def noted(found: dict[str, int], step: Step, answer: Any) -> None:
    """Keeps the ids that later steps name."""
    if step.of == "+conversation":
        found["conversation"], found["message"] = answer[0]["id"], answer[0]["messages"][0]["id"]
    elif step.operation == "get_conversations_batches":
        found["batch"] = answer[0]["id"]
    elif step.operation == "put_conversations":
        found["progress"] = answer["id"]


def filled(value: Any, found: dict[str, int]) -> Any:
    """The parameters, with ids for the nouns."""
    if isinstance(value, list):
        return [filled(item, found) for item in value]
    if isinstance(value, dict):
        return {name: filled(item, found) for name, item in value.items()}
    return str(found.get(value, value)) if isinstance(value, str) else value


async def answered(response: aiohttp.ClientResponse) -> Any:
    """The JSON; of a stream its first event, without the moment."""
    if response.content_type != "text/event-stream":
        return await response.json()
    event = await EventStream(response).next()
    assert event is not None
    data = _OF_THE_CLOCK.sub(rb"\1:0.0", _TIME.sub(_WHEN, event.data))
    return {"event": event.name, "id": "00f1a2b3c4d5e6f7", "data": data.decode()}


@pytest.fixture
async def _counted_anew(conn: asyncpg.Connection) -> None:
    """Ids begin as in a new database, whatever tests had this one before."""
    await conn.execute(
        "SELECT setval(s.seqrelid::regclass, s.seqstart, false) FROM pg_sequence s"
        " JOIN pg_class c ON c.oid = s.seqrelid WHERE c.relnamespace = 'public'::regnamespace"
    )


@pytest.mark.usefixtures("_counted_anew")
async def test_the_examples_are_what_the_service_answers(
    client: aiohttp.ClientSession, token: Token, institution: Institution, conn: asyncpg.Connection
) -> None:
    """Times and rates are those of the recording; all other values repeat."""
    school = await make_school(institution, 3)
    admin = await institution.user()
    await institution.admin(admin, account=await institution.account(site_admin=True))
    who = {"teacher": await token(school.teacher), "admin": await token(admin)}
    made: dict[str, list[Example]] = {}
    found: dict[str, int] = {}
    tomorrow = iso(await conn.fetchval("SELECT now() + interval '1 day'"))
    for step in steps(school, tomorrow):
        path_id = found.get(step.of or "")
        method, path = PATHS[step.operation]
        await prepare(conn, path, found)
        example = Example(step.summary, path_id, filled(step.parameters, found), step.status, None)
        sent: dict[str, Any] = {"json": example.parameters}
        if method in {"GET", "DELETE"}:
            sent = {"params": query(example)}
        async with client.request(method, path.format(id=path_id), headers=who[step.by], **sent) as response:
            assert response.status == step.status, (step, await response.text())
            answer = await answered(response)
        noted(found, step, answer)
        made.setdefault(step.operation, []).append(example._replace(answer=answer))

    text = orjson.dumps({name: [each._asdict() for each in each_of] for name, each_of in made.items()})
    text = _OF_THE_CLOCK.sub(rb"\1:0.0", _TIME.sub(_WHEN, text))
    if os.environ.get(WRITE) == "write":
        target = Path(examples.__file__).with_name(FILE)
        target.write_bytes(orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2) + b"\n")
        pytest.fail("written; look at the difference")
    assert orjson.loads(text) == {
        name: [each._asdict() for each in each_of] for name, each_of in examples.recorded().items()
    }


async def test_every_request_and_every_answer_under_api_has_an_example(client: aiohttp.ClientSession) -> None:
    async with client.get("/openapi.json") as response:
        document = await response.json()
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        if path.startswith("/api/")
        for method, operation in methods.items()
    }
    contents = [
        (name, status, shown)
        for name, operation in operations.items()
        for status, part in [("asks", operation.get("requestBody", {})), *operation["responses"].items()]
        for shown in part.get("content", {}).values()
    ]
    ids = [
        (name, parameter)
        for name, operation in operations.items()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    ]

    assert [(name, status) for name, status, shown in contents if not {"example", "examples"} & shown.keys()] == []
    assert [name for name, parameter in ids if not parameter.get("example")] == []


async def test_every_id_says_of_what(client: aiohttp.ClientSession) -> None:
    async with client.get("/openapi.json") as response:
        document = await response.json()

    silent = [
        (schema, key)
        for schema, shown in document["components"]["schemas"].items()
        for key, value in shown.get("properties", {}).items()
        if (key in {"id", "ids"} or key.endswith(("_id", "_ids"))) and not value.get("description")
    ]
    assert silent == []
