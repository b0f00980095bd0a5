"""GET /api/v1/conversations/:id (canvas/endpoints.md 4.4)."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.support.conversations import Threads
from tests.support.institution import Institution

Token = Callable[..., Awaitable[dict[str, str]]]
PATH = "/api/v1/conversations"


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(4)


async def show(client: ClientSession, headers: dict[str, str], conversation: int, query: str = "") -> Any:
    async with client.get(f"{PATH}/{conversation}{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_shows_all_messages_and_more_of_the_people(
    client: ClientSession, token: Token, institution: Institution, threads: Threads, people: list[int]
) -> None:
    me, ann, ben, _ = people
    course = await institution.course("Chemistry")
    await institution.enroll(course, [me, ben], "Student")
    await institution.enroll(course, ann, "Teacher")
    made = await threads.group(ann, [me, ben], "One", context=("Course", course))
    reply = await threads.reply(made, ben, "Two")

    shown = await show(client, await token(me), made)

    assert [(m["id"], m["body"]) for m in shown["messages"]] == [(reply, "Two"), (made, "One")]
    assert shown["messages"][1]["created_at"] == "2024-05-01T12:00:00Z"
    assert shown["submissions"] == []
    assert shown["context_name"] == "Chemistry"
    assert "beta" not in shown
    assert "cannot_reply" not in shown
    of_ann = next(p for p in shown["participants"] if p["id"] == ann)
    assert of_ann["common_courses"] == {str(course): ["TeacherEnrollment"]}
    assert of_ann["avatar_url"].startswith("https://")
    assert "uuid" not in of_ann


async def test_switches(client: ClientSession, token: Token, threads: Threads, people: list[int]) -> None:
    me, ann, *_ = people
    made = await threads.private(ann, me)

    query = "?include_participant_contexts=0&include[]=uuid&include_beta=false&interleave_submissions=1"
    shown = await show(client, await token(me), made, query)

    assert shown["beta"] is False
    assert list(shown["participants"][0]) == ["id", "name", "full_name", "pronouns", "uuid", "avatar_url"]


class TestReading:
    @pytest.fixture
    async def made(self, threads: Threads, people: list[int]) -> int:
        return await threads.private(people[1], people[0])

    async def unread(self, conn: asyncpg.Connection, conversation: int, user: int) -> bool:
        unread: bool = await conn.fetchval(
            "SELECT unread FROM participants WHERE conversation_id = $1 AND user_id = $2", conversation, user
        )
        return unread

    async def test_marks_as_read_before_it_looks(
        self, conn: asyncpg.Connection, client: ClientSession, token: Token, people: list[int], made: int
    ) -> None:
        shown = await show(client, await token(people[0]), made, "?scope=unread")

        assert (shown["workflow_state"], shown["visible"]) == ("read", False)
        assert not await self.unread(conn, made, people[0])

    @pytest.mark.parametrize("value", ["0", "false", "off", "wat"])
    async def test_leaves_it_unread_when_asked_to(
        self,
        *,
        conn: asyncpg.Connection,
        client: ClientSession,
        token: Token,
        people: list[int],
        made: int,
        value: str,
    ) -> None:
        query = f"?scope=unread&auto_mark_as_read={value}"
        shown = await show(client, await token(people[0]), made, query)

        assert (shown["workflow_state"], shown["visible"]) == ("unread", True)
        assert await self.unread(conn, made, people[0])

    async def test_leaves_an_archived_one_where_it_is(
        self, client: ClientSession, token: Token, threads: Threads, people: list[int], made: int
    ) -> None:
        await threads.update(made, people[0], archived=True)

        shown = await show(client, await token(people[0]), made)

        assert (shown["workflow_state"], shown["visible"]) == ("archived", False)

    async def test_moves_a_starred_one_up_its_list(
        self, conn: asyncpg.Connection, client: ClientSession, token: Token, threads: Threads, people: list[int]
    ) -> None:
        made = [await threads.private(people[1], people[0]) for _ in range(2)]
        for conversation in made:
            await threads.update(conversation, people[0], starred=True)
        headers = await token(people[0])

        await show(client, headers, made[0])

        async with client.get(f"{PATH}?scope=starred", headers=headers) as response:
            assert [c["id"] for c in await response.json()] == made


class TestNotFound:
    async def missing(self, client: ClientSession, headers: dict[str, str], path: str) -> None:
        async with client.get(f"{PATH}/{path}", headers=headers) as response:
            assert response.status == 404
            assert await response.json() == {"errors": [{"message": "The specified resource does not exist."}]}

    @pytest.mark.parametrize("path", ["12", "0", "wat", "-1", "9" * 30, "1.5"])
    async def test_is_what_does_not_exist(
        self, client: ClientSession, token: Token, people: list[int], *, path: str
    ) -> None:
        await self.missing(client, await token(people[0]), path)

    async def test_is_what_another_user_has(
        self, client: ClientSession, token: Token, threads: Threads, people: list[int]
    ) -> None:
        made = await threads.private(people[0], people[1])
        await self.missing(client, await token(people[2]), str(made))

    async def test_is_what_was_deleted(
        self, client: ClientSession, token: Token, threads: Threads, people: list[int]
    ) -> None:
        made = await threads.private(people[0], people[1])
        await threads.delete(made, people[1])

        await self.missing(client, await token(people[1]), str(made))
        await show(client, await token(people[0]), made)

    async def test_is_said_before_a_filter_mode_is_looked_at(
        self, client: ClientSession, token: Token, threads: Threads, people: list[int]
    ) -> None:
        headers = await token(people[0])
        await self.missing(client, headers, "12?filter_mode=xor")

        made = await threads.private(people[1], people[0])
        async with client.get(f"{PATH}/{made}?filter_mode=xor", headers=headers) as response:
            assert response.status == 400
            assert await response.json() == [{"attribute": "filter_mode", "message": "invalid"}]
        async with client.get(f"{PATH}?scope=unread", headers=headers) as response:
            assert [c["id"] for c in await response.json()] == [made]


async def test_visible_follows_scope_and_filter(
    client: ClientSession, token: Token, threads: Threads, people: list[int]
) -> None:
    me, ann, ben, _ = people
    made = await threads.private(ann, me)
    headers = await token(me)

    async def visible(query: str) -> bool:
        found: bool = (await show(client, headers, made, query))["visible"]
        return found

    assert await visible("")
    assert await visible("?scope=whatever")
    assert not await visible("?scope=sent")
    assert await visible(f"?filter[]=user_{ann}")
    assert not await visible(f"?filter[]=user_{ben}")
    assert not await visible(f"?filter[]=user_{ann}&filter[]=user_{ben}&filter_mode=and")


async def test_says_when_replies_are_locked(
    client: ClientSession, token: Token, institution: Institution, threads: Threads, people: list[int]
) -> None:
    me, ann, *_ = people
    course = await institution.course(state="completed")
    await institution.enroll(course, me, "Student")
    await institution.enroll(course, ann, "Teacher")
    made = await threads.private(ann, me, context=("Course", course))

    shown = await show(client, await token(me), made)

    assert shown["cannot_reply"] is True


async def test_authors_of_forwarded_messages_are_shown_but_not_addressed(
    client: ClientSession, token: Token, threads: Threads, people: list[int]
) -> None:
    me, ann, ben, _ = people
    source = await threads.private(ben, ann, "Original")
    made = await threads.private(ann, me, "Look", forwards=[source])

    shown = await show(client, await token(me), made)

    assert [p["id"] for p in shown["participants"]] == [ann, me, ben]
    assert shown["audience"] == [ann]
    assert shown["messages"][0]["forwarded_messages"][0]["body"] == "Original"
