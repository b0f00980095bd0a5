"""How many statements a request costs, BEGIN, COMMIT and the throttle's included, however much it touches.

The same table stands in README.md. A request that needs fewer lowers its number; one that needs more has to say why.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from service.api.throttle import finish_settling
from service.domain.dates import iso
from service.domain.jwt import UserKey
from service.runtime.postgres import close_pool, create_pool
from service.runtime.settings import Settings
from sql.statements import STATEMENTS
from tests.support.conversations import Threads
from tests.support.gateway import Api
from tests.support.http_calls import call
from tests.support.institution import ROOT_ACCOUNT, Institution
from tests.support.issuer import AUDIENCE, ISSUER, SigningKey, key_set
from tests.support.school import School

ISSUERS = SigningKey()
NAMES = {statement.text: name for name, statement in STATEMENTS.items()}
README = Path(__file__).parents[2] / "README.md"
BUDGETS = {
    "GET /conversations": 4,
    "GET /conversations?filter[]=": 4,
    "GET /conversations/unread_count": 3,
    "GET /conversations/:id": 7,
    "PUT /conversations/:id": 8,
    "DELETE /conversations/:id": 9,
    "POST /conversations to one person": 10,
    "POST /conversations to a group": 10,
    "POST /conversations to a course, async": 8,
    "POST /conversations to a course, dry run": 6,
    "POST /conversations to a course, later": 9,
    "POST /conversations/:id/add_message": 13,
    "POST /conversations/:id/add_recipients": 20,
    "POST /conversations/:id/remove_messages": 10,
    "POST /conversations/mark_all_as_read": 5,
    "PUT /conversations": 3,
    "GET /progress/:id": 3,
    "GET /conversations/batches": 5,
    "GET /conversations/batches/:id": 4,
    "GET /conversations/batches/:id/recipients": 4,
    "POST /conversations/batches/:id/pause": 8,
    "PUT /conversations/batches/:id": 9,
    "GET /search/recipients": 8,
    "GET /users/self": 3,
    "GET /conversations?as_user_id=": 8,
}


@pytest.fixture
def asked() -> list[str]:
    """Statements of the gateway since the test began."""
    return []


@pytest.fixture
async def pool(settings: Settings, asked: list[str]) -> AsyncIterator[asyncpg.Pool]:
    """The gateway's own pool, of one connection, which notes what it is asked."""
    made = await create_pool(settings, size=1)
    async with made.acquire() as conn:
        conn.add_query_logger(lambda query: asked.append(query.query))
    yield made
    await close_pool(made)


@pytest.fixture
def edge_settings(edge_settings: Settings, tmp_path: Path) -> Settings:
    """With an issuer, so that a JWT is taken, too."""
    keys = tmp_path / "keys.json"
    keys.write_text(key_set([ISSUERS]))
    signing_in = {"jwt_issuer": ISSUER, "jwt_jwks": str(keys), "jwt_audience": AUDIENCE, "jwt_user_key": UserKey.ID}
    return edge_settings.model_copy(update=signing_in)


@dataclass(frozen=True)
class Place:
    """A school whose teacher has conversations, a batch and a batch update, and two administrators."""

    school: School
    private: int
    group: int
    message: int
    batch: int
    scheduled: int  # another batch
    tomorrow: str
    progress: int
    administrator: int
    deputy: int  # of three accounts

    @property
    def course(self) -> str:
        """The course's code."""
        return f"course_{self.school.course}"


@pytest.fixture
async def place(
    school: School,
    institution: Institution,
    threads: Threads,
    client: ClientSession,
    token: Callable[..., Awaitable[dict[str, str]]],
) -> Place:
    """Ten conversations, of 250 people the teacher knows."""
    teacher, students = school.teacher, school.students
    *_, other, private = [await threads.private(student, teacher) for student in students[:9]]
    group = await threads.group(teacher, students[:3])
    message = await threads.reply(group, students[0])
    headers = await token(teacher)
    # No request's cost: blocks of ids and tag lists, once per process, and types of arrays, once per connection.
    for _ in range(2):  # a tag list is remembered once another transaction has added it
        await call(client, headers, "POST", f"/conversations/{other}/add_message", json={"body": "Hello"})
    await call(client, headers, "PUT", f"/conversations/{other}", json={"conversation": {"starred": True}})
    await call(client, headers, "POST", "/conversations", status=202, json=bulk(f"course_{school.course}"))
    (batch,) = await call(client, headers, "GET", "/conversations/batches")
    tomorrow = iso(datetime.now(UTC) + timedelta(days=1))
    later = bulk(f"course_{school.course}") | {"send_at": tomorrow}
    await call(client, headers, "POST", "/conversations", status=202, json=later)
    (scheduled,) = await call(client, headers, "GET", "/conversations/batches?state[]=scheduled")
    progress = await call(client, headers, "PUT", "/conversations", json={"conversation_ids": [group], "event": "star"})
    administrator, deputy = await institution.users(2)
    await institution.admin(administrator)
    for account in (
        ROOT_ACCOUNT,
        await institution.account(parent=ROOT_ACCOUNT),
        await institution.account(parent=ROOT_ACCOUNT),
    ):
        await institution.admin(deputy, account=account)
    return Place(
        school, private, group, message, batch["id"], scheduled["id"], tomorrow, progress["id"], administrator, deputy
    )


def bulk(course: str) -> dict[str, Any]:
    """A message to everybody in a course."""
    return {
        "recipients": [course],
        "context_code": course,
        "body": "Hello",
        "group_conversation": True,
        "bulk_message": True,
        "mode": "async",
    }


def request(row: str, place: Place) -> tuple[int, str, str, dict[str, Any]]:
    """(who asks, method, path, what it sends and how it is answered) of a row of the table."""
    teacher, students = place.school.teacher, place.school.students
    one = f"/conversations/{place.private}"
    all_ = f"/conversations/{place.group}"
    requests: dict[str, tuple[int, str, str, dict[str, Any]]] = {
        "GET /conversations": (teacher, "GET", "/conversations?per_page=3", {}),  # and there is more of it
        "GET /conversations?filter[]=": (teacher, "GET", f"/conversations?filter[]={place.course}", {}),
        "GET /conversations/unread_count": (teacher, "GET", "/conversations/unread_count", {}),
        "GET /conversations/:id": (teacher, "GET", one, {}),
        "PUT /conversations/:id": (teacher, "PUT", one, {"json": {"conversation": {"starred": True}}}),
        "DELETE /conversations/:id": (teacher, "DELETE", one, {}),
        "POST /conversations to one person": (
            *(teacher, "POST", "/conversations"),
            {"json": {"recipients": [str(students[20])], "body": "Hello"}, "status": 201},
        ),
        "POST /conversations to a group": (
            *(teacher, "POST", "/conversations"),
            {
                "json": {"recipients": [str(s) for s in students[20:40]], "body": "Hello", "group_conversation": True},
                "status": 201,
            },
        ),
        "POST /conversations to a course, async": (
            *(teacher, "POST", "/conversations"),
            {"json": bulk(place.course), "status": 202},
        ),
        "POST /conversations to a course, dry run": (
            *(teacher, "POST", "/conversations"),
            {"json": bulk(place.course) | {"dry_run": True}},
        ),
        "POST /conversations to a course, later": (
            *(teacher, "POST", "/conversations"),
            {"json": bulk(place.course) | {"send_at": place.tomorrow}, "status": 202},
        ),
        "POST /conversations/:id/add_message": (teacher, "POST", f"{all_}/add_message", {"json": {"body": "Hello"}}),
        "POST /conversations/:id/add_recipients": (
            *(teacher, "POST", f"{all_}/add_recipients"),
            {"json": {"recipients": [str(s) for s in students[20:40]]}},
        ),
        "POST /conversations/:id/remove_messages": (
            *(teacher, "POST", f"{all_}/remove_messages"),
            {"json": {"remove": [place.message]}},
        ),
        "POST /conversations/mark_all_as_read": (teacher, "POST", "/conversations/mark_all_as_read", {}),
        "PUT /conversations": (
            *(teacher, "PUT", "/conversations"),
            {"json": {"conversation_ids": [place.group, place.private], "event": "archive"}},
        ),
        "GET /progress/:id": (teacher, "GET", f"/progress/{place.progress}", {}),
        "GET /conversations/batches": (teacher, "GET", "/conversations/batches", {}),
        "GET /conversations/batches/:id": (teacher, "GET", f"/conversations/batches/{place.batch}", {}),
        "GET /conversations/batches/:id/recipients": (
            *(teacher, "GET", f"/conversations/batches/{place.batch}/recipients"),
            {},
        ),
        "POST /conversations/batches/:id/pause": (teacher, "POST", f"/conversations/batches/{place.batch}/pause", {}),
        "PUT /conversations/batches/:id": (
            *(teacher, "PUT", f"/conversations/batches/{place.scheduled}"),
            {"json": {"send_at": place.tomorrow}},
        ),
        "GET /search/recipients": (teacher, "GET", "/search/recipients?search=user", {}),
        "GET /users/self": (teacher, "GET", "/users/self", {}),
        "GET /conversations?as_user_id=": (place.administrator, "GET", f"/conversations?as_user_id={place.deputy}", {}),
    }
    return requests[row]


@pytest.mark.parametrize("row", BUDGETS)
async def test_a_request_costs_no_more_statements_than_the_table_says(
    row: str,
    place: Place,
    api: Api,
    token: Callable[..., Awaitable[dict[str, str]]],
    asked: list[str],
) -> None:
    who, method, path, sent = request(row, place)
    headers = await token(who)
    await finish_settling(api.app)
    asked.clear()

    await call(api.session, headers, method, path, **sent)
    await finish_settling(api.app)

    assert len(asked) == BUDGETS[row], [NAMES.get(text, text) for text in asked]


@pytest.mark.parametrize(
    "row", ["GET /users/self", "POST /conversations to one person", "GET /conversations?as_user_id="]
)
async def test_a_jwt_costs_as_many_as_a_token(row: str, place: Place, api: Api, asked: list[str]) -> None:
    """Also one that comes for the first time."""
    who, method, path, sent = request(row, place)
    await finish_settling(api.app)
    asked.clear()

    await call(api.session, {"Authorization": f"Bearer {ISSUERS.token(who)}"}, method, path, **sent)
    await finish_settling(api.app)

    assert len(asked) == BUDGETS[row], [NAMES.get(text, text) for text in asked]


def test_the_table_in_the_readme_is_this_one() -> None:
    rows = re.findall(r"^\| `(.*?)`(.*?) \| (\d+) \|$", README.read_text("utf-8"), re.MULTILINE)
    assert {f"{route}{rest}": int(number) for route, rest, number in rows} == BUDGETS
