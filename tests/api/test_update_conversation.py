"""PUT /api/v1/conversations/:id (canvas/endpoints.md 4.5)."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.support.conversations import START, Threads
from tests.support.http_calls import NOT_FOUND, call
from tests.support.institution import Institution
from tests.support.participants import all_of_others, participant_row

Token = Callable[..., Awaitable[dict[str, str]]]

KEYS = {
    "id", "subject", "workflow_state", "last_message", "last_message_at", "last_authored_message",
    "last_authored_message_at", "message_count", "subscribed", "private", "starred", "properties", "audience",
    "audience_contexts", "avatar_url", "participants", "visible", "context_code",
}  # fmt: skip


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(4)


@pytest.fixture
async def made(threads: Threads, people: list[int]) -> int:
    """A group conversation that the first of the people has received and not read."""
    return await threads.group(people[1], [people[0], people[2]], "Hello, all", subject="Trip")


@pytest.fixture
async def me(token: Token, people: list[int]) -> dict[str, str]:
    return await token(people[0])


async def put(client: ClientSession, me: dict[str, str], conversation: int, query: str = "", **changes: Any) -> Any:
    return await call(client, me, "PUT", f"/conversations/{conversation}{query}", json={"conversation": changes})


async def test_answers_with_the_conversation(
    client: ClientSession, me: dict[str, str], made: int, people: list[int], conn: asyncpg.Connection
) -> None:
    before = await all_of_others(conn, people[0])

    shown = await put(client, me, made, starred=True)

    assert shown.keys() == KEYS
    assert (shown["id"], shown["subject"], shown["starred"]) == (made, "Trip", True)
    assert (shown["workflow_state"], shown["visible"]) == ("unread", True)
    assert all({"common_courses", "common_groups", "avatar_url"} <= p.keys() for p in shown["participants"])
    assert await all_of_others(conn, people[0]) == before


@pytest.mark.parametrize(
    ("first", "asked", "visible", "unread_count"),
    [
        ("unread", "read", True, "0"),
        ("unread", "archived", False, "0"),
        ("read", "unread", True, "1"),
        ("archived", "unread", True, "1"),
        ("archived", "read", True, "0"),
    ],
)
async def test_states(
    *,
    client: ClientSession,
    me: dict[str, str],
    made: int,
    first: str,
    asked: str,
    visible: bool,
    unread_count: str,
) -> None:
    await put(client, me, made, workflow_state=first)

    shown = await put(client, me, made, workflow_state=asked)

    assert (shown["workflow_state"], shown["visible"]) == (asked, visible)
    assert await call(client, me, "GET", "/conversations/unread_count") == {"unread_count": unread_count}


async def test_visible_is_looked_at_afterwards_and_in_the_scope_asked_for(
    client: ClientSession, me: dict[str, str], made: int
) -> None:
    assert (await put(client, me, made, "?scope=archived", workflow_state="archived"))["visible"] is True
    assert (await put(client, me, made, "?scope=unread", workflow_state="read"))["visible"] is False


@pytest.mark.parametrize(("value", "starred"), [("1", True), ("on", True), ("false", False), ("wat", False)])
async def test_starring_by_form_or_query(
    *, client: ClientSession, me: dict[str, str], made: int, value: str, starred: bool
) -> None:
    path = f"/conversations/{made}"
    shown = await call(client, me, "PUT", f"{path}.json", data={"conversation[starred]": value})
    assert shown["starred"] is starred
    shown = await call(client, me, "PUT", f"{path}?conversation[starred]={value}&include[]=uuid")
    assert shown["starred"] is starred
    assert "uuid" in shown["participants"][0]


async def test_what_is_not_named_stays(
    client: ClientSession, me: dict[str, str], made: int, people: list[int], conn: asyncpg.Connection
) -> None:
    await put(client, me, made, starred=True)
    before = await participant_row(conn, made, people[0])

    await put(client, me, made, other="1", starred=True)

    assert await participant_row(conn, made, people[0]) == before


class TestSubscription:
    async def test_muting_reads_it(self, client: ClientSession, me: dict[str, str], made: int) -> None:
        shown = await put(client, me, made, subscribed=False)
        assert (shown["subscribed"], shown["workflow_state"]) == (False, "read")

    async def test_muting_leaves_the_archive_alone(self, client: ClientSession, me: dict[str, str], made: int) -> None:
        await put(client, me, made, workflow_state="archived")
        shown = await put(client, me, made, subscribed="0")
        assert (shown["subscribed"], shown["workflow_state"]) == (False, "archived")

    async def test_an_explicit_state_wins(self, client: ClientSession, me: dict[str, str], made: int) -> None:
        shown = await put(client, me, made, subscribed=False, workflow_state="unread")
        assert (shown["subscribed"], shown["workflow_state"]) == (False, "unread")

    async def test_subscribing_again_catches_up(
        self, client: ClientSession, me: dict[str, str], made: int, people: list[int], threads: Threads
    ) -> None:
        received = (await put(client, me, made, subscribed=False))["last_message_at"]
        await threads.reply(made, people[1], "News")
        await threads.update(made, people[0], unread=False, last_message_at=START)
        await put(client, me, made, workflow_state="archived")

        shown = await put(client, me, made, subscribed=True)

        assert (shown["subscribed"], shown["workflow_state"], shown["last_message"]) == (True, "unread", "News")
        assert shown["last_message_at"] > received

    async def test_is_ignored_in_private_conversations(
        self, client: ClientSession, me: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        private = await threads.private(people[1], people[0])
        shown = await put(client, me, private, subscribed=False)
        assert (shown["subscribed"], shown["workflow_state"]) == (True, "unread")


class TestRefusals:
    @pytest.mark.parametrize("sent", [{}, {"conversation": {}}, {"conversation": "wat"}, {"starred": True}])
    async def test_without_a_conversation(
        self, client: ClientSession, me: dict[str, str], made: int, *, sent: dict[str, Any]
    ) -> None:
        refused = await call(client, me, "PUT", f"/conversations/{made}", status=400, json=sent)
        assert refused == {"errors": [{"message": "conversation is missing"}]}

    async def test_of_a_state_that_does_not_exist_change_nothing(
        self, client: ClientSession, me: dict[str, str], made: int, people: list[int], conn: asyncpg.Connection
    ) -> None:
        before = await participant_row(conn, made, people[0])
        changes = {"workflow_state": "deleted", "subscribed": False, "starred": True}

        refused = await call(client, me, "PUT", f"/conversations/{made}", status=400, json={"conversation": changes})

        error = {"attribute": "workflow_state", "type": "inclusion", "message": "inclusion"}
        assert refused == {"errors": {"workflow_state": [error]}}
        assert await participant_row(conn, made, people[0]) == before

    async def test_in_order(self, client: ClientSession, me: dict[str, str], made: int) -> None:
        """Who has no such conversation learns that first; then filter_mode, then what is missing."""
        assert await call(client, me, "PUT", "/conversations/12?filter_mode=xor", status=404) == NOT_FOUND
        refused = await call(client, me, "PUT", f"/conversations/{made}?filter_mode=xor", status=400)
        assert refused == [{"attribute": "filter_mode", "message": "invalid"}]

    async def test_of_what_is_not_the_callers(
        self, *, client: ClientSession, token: Token, me: dict[str, str], made: int, people: list[int], threads: Threads
    ) -> None:
        outsider = await token(people[3])
        await threads.delete(made, people[0])
        for headers in (outsider, me):
            refused = await call(
                client, headers, "PUT", f"/conversations/{made}", status=404, json={"conversation": {"starred": 1}}
            )
            assert refused == NOT_FOUND
