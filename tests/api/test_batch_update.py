"""PUT /conversations and the Progress API (canvas/endpoints.md 4.11, 4.14), up to where a worker takes over."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.support.conversations import Threads
from tests.support.gateway import PUBLIC_URL
from tests.support.http_calls import NOT_AUTHORISED, NOT_FOUND, call
from tests.support.institution import Institution
from tests.support.participants import participant_row

Token = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(3)


@pytest.fixture
async def me(token: Token, people: list[int]) -> dict[str, str]:
    return await token(people[0])


async def put(client: ClientSession, headers: dict[str, str], **sent: Any) -> Any:
    return await call(client, headers, "PUT", "/conversations", json=sent)


async def test_is_accepted_with_a_progress(
    client: ClientSession, me: dict[str, str], people: list[int], threads: Threads, conn: asyncpg.Connection
) -> None:
    """No worker listens here: what is accepted waits, and should its command be lost, the sweeper will find it."""
    made = await threads.private(people[1], people[0])

    progress = await put(client, me, conversation_ids=[str(made)], event="archive")

    assert progress == {
        "id": progress["id"],
        "context_id": people[0],
        "context_type": "User",
        "user_id": people[0],
        "tag": "conversation_batch_update",
        "completion": 0.0,
        "workflow_state": "queued",
        "created_at": progress["created_at"],
        "updated_at": progress["created_at"],
        "message": None,
        "url": f"{PUBLIC_URL}/api/v1/progress/{progress['id']}",
    }
    assert isinstance(progress["completion"], float)
    assert await call(client, me, "GET", f"/progress/{progress['id']}.json") == progress
    assert not (await participant_row(conn, made, people[0]))["archived"]
    assert await conn.fetchval("SELECT count(*) FROM batch_updates WHERE due_at < now() + interval '6 s'") == 1


@pytest.mark.parametrize(
    "data",
    [
        [("conversation_ids[]", "7"), ("conversation_ids[]", "8"), ("event", "star")],
        [("conversation_ids", "7"), ("conversation_ids", "8"), ("event", "unstar"), ("event", "star")],
    ],
    ids=["brackets", "bare repeats"],
)
async def test_takes_forms(
    client: ClientSession, me: dict[str, str], conn: asyncpg.Connection, *, data: list[tuple[str, str]]
) -> None:
    await call(client, me, "PUT", "/conversations", data=data)
    (stored,) = await conn.fetch("SELECT conversation_ids, event FROM batch_updates")
    assert tuple(stored) == (["7", "8"], "star")


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "conversation_ids not specified"),
        ({"conversation_ids": "7", "event": "star"}, "conversation_ids not specified"),
        ({"conversation_ids": {"0": "7"}, "event": "star"}, "conversation_ids not specified"),
        ({"conversation_ids": ["7"] * 501}, "conversation batch size limit (500) exceeded"),
        ({"conversation_ids": ["7"] * 500}, "event not specified"),
        ({"conversation_ids": ["7"], "event": "explode"}, "invalid event"),
        ({"conversation_ids": ["7"], "event": "Star"}, "invalid event"),
    ],
)
async def test_refusals(
    client: ClientSession, me: dict[str, str], conn: asyncpg.Connection, *, sent: dict[str, Any], message: str
) -> None:
    assert await call(client, me, "PUT", "/conversations", status=400, json=sent) == {"message": message}
    assert await conn.fetchval("SELECT count(*) FROM batch_updates") == 0


async def test_cancelling_fails_it_from_whatever_state(client: ClientSession, me: dict[str, str]) -> None:
    progress = await put(client, me, conversation_ids=["7"], event="star")
    path = f"/progress/{progress['id']}/cancel"

    cancelled = await call(client, me, "POST", path, json={"message": "enough"})
    assert (cancelled["workflow_state"], cancelled["message"], cancelled["completion"]) == ("failed", "enough", 0.0)
    assert cancelled.keys() == progress.keys()

    again = await call(client, me, "POST", path)
    assert (again["workflow_state"], again["message"]) == ("failed", None)


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/cancel")])
async def test_a_progress_is_its_owners(
    *, client: ClientSession, me: dict[str, str], token: Token, people: list[int], method: str, suffix: str
) -> None:
    progress = await put(client, me, conversation_ids=["7"], event="star")
    outsider = await token(people[1])

    refused = await call(client, outsider, method, f"/progress/{progress['id']}{suffix}", status=403)
    assert refused == NOT_AUTHORISED
    for path in (str(progress["id"] + 1), "wat", "9" * 19):
        assert await call(client, me, method, f"/progress/{path}{suffix}", status=404) == NOT_FOUND
    found = await call(client, me, "GET", f"/progress/{progress['id']}")
    assert found["workflow_state"] == "queued"


async def test_ids_can_be_strings(client: ClientSession, me: dict[str, str], people: list[int]) -> None:
    headers = me | {"Accept": "application/json+canvas-string-ids"}
    progress = await put(client, headers, conversation_ids=["7"], event="star")
    assert (progress["context_id"], progress["user_id"]) == (str(people[0]), str(people[0]))
