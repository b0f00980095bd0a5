"""GET /conversations/deleted, PUT /conversations/restore, DELETE …/delete_for_all (canvas/endpoints.md 4.15)."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.support.conversations import Threads
from tests.support.http_calls import NOT_AUTHORISED, NOT_FOUND, call
from tests.support.institution import Institution
from tests.support.participants import all_of_others, bodies, participant_row

Token = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(4)


@pytest.fixture
async def site(institution: Institution) -> int:
    return await institution.account(site_admin=True)


@pytest.fixture
async def operator(token: Token, institution: Institution, site: int) -> dict[str, str]:
    """Credentials of an administrator of the site."""
    user = await institution.user()
    await institution.admin(user, account=site)
    return await token(user)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/conversations/deleted?user_id=1"),
        ("PUT", "/conversations/restore"),
        ("DELETE", "/conversations/1/delete_for_all"),
    ],
)
async def test_others_are_refused(
    *,
    client: ClientSession,
    token: Token,
    institution: Institution,
    site: int,
    people: list[int],
    method: str,
    path: str,
) -> None:
    """An administrator of the root account is as little one of the site as anybody else; nor is just any role there."""
    await institution.admin(people[0])
    await institution.admin(people[1], account=site, role="Helper")
    for user in people[:3]:
        assert await call(client, await token(user), method, path, status=403) == NOT_AUTHORISED


class TestDeleted:
    async def test_lists_what_users_have_deleted_newest_first(
        self, client: ClientSession, operator: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben], "One")
        second = await threads.reply(made, ann, "Two")
        other = await threads.private(ann, me, "Other")
        await threads.delete_message(made, second, me)
        await threads.delete_message(made, made, ben)
        await threads.delete_message(other, other, me)

        async def found(query: str) -> list[tuple[int, int]]:
            listed = await call(client, operator, "GET", f"/conversations/deleted?{query}")
            return [(each["id"], each["user_id"]) for each in listed]

        assert await found(f"user_id={me}") == [(other, me), (second, me)]
        assert await found(f"user_id[]={me}&user_id[]={ben}") == [(other, me), (made, ben), (second, me)]
        assert await found(f"user_id={me}&conversation_id={made}") == [(second, me)]
        assert await found(f"user_id={me}&deleted_after=2024-05-01T12:03:30Z") == [(other, me)]
        assert await found(f"user_id={me}&deleted_before=2024-05-01T12:03:30Z") == [(second, me)]
        assert await found(f"user_id={me}&deleted_before=2024-05-01T12:03:00Z") == []  # its own moment is not before it
        assert await found(f"user_id={me}&deleted_after=2024-05-01T12:05:00Z") == []
        assert await found(f"user_id={ann}") == []
        assert await found("") == []

        (shown,) = await call(client, operator, "GET", f"/conversations/deleted?user_id={ben}")
        assert shown == shown | {
            "body": "One",
            "author_id": ann,
            "conversation_id": made,
            "participating_user_ids": [me, ann, ben],
        }
        assert shown["deleted_at"].endswith("Z")

    async def test_has_pages_in_the_header_only(
        self, client: ClientSession, operator: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        for _ in range(12):
            made = await threads.private(people[1], people[0])
            await threads.delete_message(made, made, people[0])

        path = f"/api/v1/conversations/deleted?user_id={people[0]}"
        async with client.get(path, headers=operator) as response:
            assert len(await response.json()) == 12
            assert 'page=2&per_page=10>; rel="next"' in response.headers["Link"]

    @pytest.mark.parametrize("text", ["wat", str(2**63), "9" * 30, "0" * 20 + str(2**63), "0" * 5000])
    async def test_finds_nothing_of_what_can_be_no_conversation(
        self, client: ClientSession, operator: dict[str, str], people: list[int], text: str
    ) -> None:
        path = f"/conversations/deleted?user_id={people[0]}&conversation_id={text}"
        assert await call(client, operator, "GET", path, status=404) == NOT_FOUND
        path = f"/conversations/deleted?user_id={text}"
        assert await call(client, operator, "GET", path) == []

    async def test_refuses_what_is_no_date(self, client: ClientSession, operator: dict[str, str]) -> None:
        refused = await call(client, operator, "GET", "/conversations/deleted?deleted_after=wat", status=400)
        assert refused == [{"attribute": "deleted_after", "message": "invalid"}]


class TestRestore:
    async def put(self, client: ClientSession, headers: dict[str, str], status: int = 200, **sent: Any) -> Any:
        return await call(client, headers, "PUT", "/conversations/restore", status=status, json=sent)

    async def test_gives_a_user_the_message_back(
        self,
        *,
        client: ClientSession,
        operator: dict[str, str],
        token: Token,
        people: list[int],
        threads: Threads,
        conn: asyncpg.Connection,
    ) -> None:
        me, ann, *_ = people
        made = await threads.private(ann, me, "One", attachments=[1], tags=["course_1"])
        second = await threads.reply(made, ann, "Two")
        await call(client, await token(me), "DELETE", f"/conversations/{made}")
        before = await all_of_others(conn, me)

        (restored,) = await self.put(client, operator, message_id=made, user_id=me, conversation_id=made)

        assert (restored["id"], restored["body"]) == (made, "One")
        after = await participant_row(conn, made, me)
        assert (after["message_count"], after["unread"], after["has_attachments"]) == (1, False, True)
        assert after["last_message_at"] is not None
        assert await bodies(conn, made, me) == ["One"]
        (listed,) = await call(client, await token(me), "GET", "/conversations")
        assert (listed["id"], listed["last_message"]) == (made, "One")
        assert await all_of_others(conn, me) == before

        await self.put(client, operator, message_id=second, user_id=me, conversation_id=made)
        assert (await participant_row(conn, made, me))["message_count"] == 2
        assert await self.put(client, operator, message_id=12, user_id=me, conversation_id=made) == []

    async def test_of_what_was_a_restricted_message(
        self, client: ClientSession, operator: dict[str, str], people: list[int], threads: Threads,
        conn: asyncpg.Connection,
    ) -> None:  # fmt: skip
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben], "All")
        alone = await threads.reply(made, ann, "You", only=[me])
        await threads.delete_message(made, alone, me)

        await self.put(client, operator, message_id=alone, user_id=me, conversation_id=made)

        assert await bodies(conn, made, me) == ["All", "You"]
        assert await bodies(conn, made, ben) == ["All"]

    async def test_refuses_in_order(
        self, client: ClientSession, operator: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        made = await threads.private(people[1], people[0])
        sent: dict[str, Any] = {}
        for name in ("message_id", "user_id", "conversation_id"):
            refused = await self.put(client, operator, 400, **sent)
            assert refused == [{"attribute": name, "message": "required"}]
            sent[name] = str(made)
        assert await self.put(client, operator, 404, **sent) == NOT_FOUND
        assert await self.put(client, operator, 404, **(sent | {"user_id": "wat"})) == NOT_FOUND
        assert await self.put(client, operator, 404, **(sent | {"user_id": "0" * 5000})) == NOT_FOUND


async def test_deleting_for_all_takes_it_from_everybody(
    *,
    client: ClientSession,
    operator: dict[str, str],
    token: Token,
    people: list[int],
    threads: Threads,
    conn: asyncpg.Connection,
) -> None:
    me, ann, ben, _ = people
    made, kept = await threads.group(ann, [me, ben]), await threads.private(ann, me)
    await threads.delete_message(made, made, ben)

    assert await call(client, operator, "DELETE", f"/conversations/{made}/delete_for_all") == {}

    for user in (me, ann, ben):
        assert await call(client, await token(user), "GET", f"/conversations/{made}", status=404) == NOT_FOUND
    assert await conn.fetchval("SELECT count(*) FROM message_views") == 0
    assert await conn.fetchval("SELECT count(*) FROM conversation_messages WHERE conversation_id = $1", made) == 1
    assert [c["id"] for c in await call(client, await token(me), "GET", "/conversations")] == [kept]
    assert await call(client, operator, "DELETE", "/conversations/12/delete_for_all", status=404) == NOT_FOUND


async def test_a_role_with_the_right_deletes_for_all(
    *, client: ClientSession, token: Token, institution: Institution, site: int, people: list[int], threads: Threads
) -> None:
    await institution.admin(people[0], account=site, role="Helper")
    await institution.override("manage_students", "Helper", True, account=site)
    made = await threads.private(people[1], people[2])

    assert await call(client, await token(people[0]), "DELETE", f"/conversations/{made}/delete_for_all") == {}
