"""GET /api/v1/conversations and /unread_count (canvas/endpoints.md 4.1, 4.12)."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.support.conversations import Threads
from tests.support.institution import Institution

Token = Callable[..., Awaitable[dict[str, str]]]
PATH = "/api/v1/conversations"
ORIGIN = "https://clarion.example"


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(4)


async def get(client: ClientSession, headers: dict[str, str], path: str = PATH) -> Any:
    async with client.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_lists_what_was_received_newest_first(
    client: ClientSession, token: Token, threads: Threads, people: list[int]
) -> None:
    me, ann, ben, _ = people
    made = [await threads.private(ann, me, "Old"), await threads.private(ben, me, "New")]

    found = await get(client, await token(me))

    assert [c["id"] for c in found] == made[::-1]
    assert found[0] == {
        "id": made[1],
        "subject": None,
        "workflow_state": "unread",
        "last_message": "New",
        "last_message_at": "2024-05-01T12:01:00Z",
        "last_authored_message": None,
        "last_authored_message_at": None,
        "message_count": 1,
        "subscribed": True,
        "private": True,
        "starred": False,
        "properties": [],
        "audience": [ben],
        "audience_contexts": {"courses": {}, "groups": {}},
        "avatar_url": f"{ORIGIN}/images/messages/avatar-50.png",
        "participants": [
            {"id": ben, "name": f"U{ben}", "full_name": f"User {ben}", "pronouns": None},
            {"id": me, "name": f"U{me}", "full_name": f"User {me}", "pronouns": None},
        ],
        "visible": True,
        "context_code": None,
        "context_name": None,
    }


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["unread", "read", "starred"]),
        ("?scope=inbox", ["unread", "read", "starred"]),
        ("?scope=all", ["unread", "read", "starred"]),
        ("?scope=", ["unread", "read", "starred"]),
        ("?scope=unread", ["unread"]),
        ("?scope=archived", ["archived"]),
        ("?scope=starred", ["starred"]),
        ("?scope=sent", ["sent"]),
    ],
)
async def test_scopes(
    client: ClientSession, token: Token, threads: Threads, people: list[int], *, query: str, shown: list[str]
) -> None:
    me, ann, *_ = people
    made = {name: await threads.private(ann, me) for name in ("starred", "archived", "read", "unread")}
    made["sent"] = await threads.private(me, ann)
    for name in ("starred", "read", "archived"):
        await threads.update(made[name], me, unread=False)
    await threads.update(made["starred"], me, starred=True)
    await threads.update(made["archived"], me, archived=True)

    found = await get(client, await token(me), PATH + query)

    assert [c["id"] for c in found] == [made[name] for name in shown]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("filter=user_{ann}", ["both", "ann"]),
        ("filter[]=user_{ann}&filter[]=user_{ben}", ["both", "ben", "ann"]),
        ("filter[]=user_{ann}&filter[]=user_{ben}&filter_mode=and", ["both"]),
        ("filter[]=uuid:uuid-{ben}", ["both", "ben"]),
        ("filter[]=course_7", ["ann"]),
        ("filter[]=course_7&filter[]=user_{ben}&filter_mode=or", ["both", "ben", "ann"]),
        ("filter[]=section_7", []),
        ("filter[]=wat", []),
        ("filter[]=course_7&filter[]=wat&filter_mode=and", []),
        ("filter=", ["both", "ben", "ann"]),
        ("filter[]=", ["both", "ben", "ann"]),
    ],
)
async def test_filters(
    client: ClientSession, token: Token, threads: Threads, people: list[int], *, query: str, shown: list[str]
) -> None:
    me, ann, ben, _ = people
    made = {
        "ann": await threads.private(ann, me, tags=["course_7"]),
        "ben": await threads.private(ben, me),
        "both": await threads.group(ann, [me, ben]),
    }

    found = await get(client, await token(me), f"{PATH}?{query.format(ann=ann, ben=ben)}")

    assert [c["id"] for c in found] == [made[name] for name in shown]


async def test_an_unknown_filter_mode_is_refused(client: ClientSession, token: Token, people: list[int]) -> None:
    async with client.get(f"{PATH}?filter_mode=xor", headers=await token(people[0])) as response:
        assert response.status == 400
        assert await response.json() == [{"attribute": "filter_mode", "message": "invalid"}]


class TestPages:
    @pytest.fixture
    async def made(self, threads: Threads, people: list[int]) -> list[int]:
        return [await threads.private(people[1], people[0]) for _ in range(7)][::-1]

    async def test_of_ten_unless_asked_otherwise(
        self, client: ClientSession, token: Token, threads: Threads, people: list[int], made: list[int]
    ) -> None:
        for _ in range(4):
            await threads.private(people[1], people[0])

        headers = await token(people[0])

        assert len(await get(client, headers)) == 10
        assert len(await get(client, headers, f"{PATH}?page=2")) == 1
        assert len(await get(client, headers, f"{PATH}?per_page=3&per_page=100")) == 11

    @pytest.mark.parametrize(
        ("page", "rels"),
        [
            (1, {"current": 1, "next": 2, "first": 1, "last": 3}),
            (2, {"current": 2, "next": 3, "prev": 1, "first": 1, "last": 3}),
            (3, {"current": 3, "prev": 2, "first": 1, "last": 3}),
            (5, {"current": 5, "prev": 4, "first": 1, "last": 3}),
        ],
    )
    async def test_are_linked(
        self,
        *,
        client: ClientSession,
        token: Token,
        people: list[int],
        made: list[int],
        page: int,
        rels: dict[str, int],
    ) -> None:
        query = f"?scope=inbox&page={page}&per_page=3"
        async with client.get(f"{PATH}.json{query}", headers=await token(people[0])) as response:
            found = await response.json()
            link = response.headers["Link"]

        assert [c["id"] for c in found] == made[3 * (page - 1) : 3 * page]
        address = f"{ORIGIN}{PATH}?scope=inbox&page={{}}&per_page=3"
        assert link == ",".join(f'<{address.format(n)}>; rel="{rel}"' for rel, n in rels.items())

    @pytest.mark.parametrize("value", ["1", "false", "0", ""])
    async def test_come_with_all_ids_when_that_is_named_at_all(
        self, client: ClientSession, token: Token, people: list[int], made: list[int], *, value: str
    ) -> None:
        query = f"?include_all_conversation_ids={value}&per_page=2&page=2"
        found = await get(client, await token(people[0]), PATH + query)

        assert list(found) == ["conversations", "conversation_ids"]
        assert [c["id"] for c in found["conversations"]] == made[2:4]
        assert found["conversation_ids"] == made

    async def test_past_the_end_are_empty(
        self, client: ClientSession, token: Token, people: list[int], made: list[int]
    ) -> None:
        headers = await token(people[0])

        assert await get(client, headers, f"{PATH}?page=9") == []
        both = await get(client, headers, f"{PATH}?page=9&include_all_conversation_ids=1")
        assert both == {"conversations": [], "conversation_ids": made}

    async def test_that_are_no_number_do_not_exist(
        self, client: ClientSession, token: Token, people: list[int]
    ) -> None:
        headers = await token(people[0])
        for page in ("0", "-1", "two"):
            async with client.get(f"{PATH}?page={page}", headers=headers) as response:
                assert response.status == 404


class TestIncludes:
    @pytest.fixture
    async def made(self, threads: Threads, people: list[int]) -> int:
        return await threads.private(people[1], people[0], context=("Course", 7))

    async def test_add_pictures_and_uuids(
        self, client: ClientSession, token: Token, people: list[int], made: int
    ) -> None:
        query = f"{PATH}?include[]=participant_avatars&include[]=uuid&include[]=wat&include_beta=0"
        (found,) = await get(client, await token(people[0]), query)

        assert found["beta"] is True
        assert list(found["participants"][0]) == ["id", "name", "full_name", "pronouns", "uuid", "avatar_url"]

    async def test_are_reduced_for_a_token_limited_to_routes(
        self, client: ClientSession, token: Token, people: list[int], made: int
    ) -> None:
        headers = await token(people[0], scopes=[f"url:GET|{PATH}"])

        (both,) = await get(client, headers, f"{PATH}?include[]=participant_avatars&include[]=uuid")
        (scalar,) = await get(client, headers, f"{PATH}?include=uuid")

        assert list(both["participants"][0]) == ["id", "name", "full_name", "pronouns", "uuid"]
        assert list(scalar["participants"][0]) == ["id", "name", "full_name", "pronouns"]

    async def test_no_fallback_picture(self, client: ClientSession, token: Token, people: list[int], made: int) -> None:
        (found,) = await get(client, await token(people[0]), f"{PATH}?no_avatar_fallback=1")

        assert found["avatar_url"] is None


async def test_ids_are_strings_for_who_cannot_read_64_bits(
    client: ClientSession, token: Token, threads: Threads, people: list[int]
) -> None:
    me, ann, *_ = people
    made = await threads.private(ann, me)
    headers = await token(me) | {"Accept": "application/json+canvas-string-ids"}

    found = await get(client, headers, f"{PATH}?include_all_conversation_ids=1")

    assert found["conversation_ids"] == [str(made)]
    (shown,) = found["conversations"]
    assert (shown["id"], shown["audience"], shown["participants"][0]["id"]) == (str(made), [str(ann)], str(ann))


async def test_lists_are_those_of_the_caller_only(
    client: ClientSession, token: Token, threads: Threads, people: list[int]
) -> None:
    me, ann, ben, outsider = people
    await threads.group(ann, [me, ben])

    assert await get(client, await token(outsider)) == []
    async with client.get(PATH) as response:
        assert response.status == 401


async def test_unread_count_is_text(client: ClientSession, token: Token, threads: Threads, people: list[int]) -> None:
    me, ann, ben, _ = people
    headers = await token(me)
    assert await get(client, headers, f"{PATH}/unread_count") == {"unread_count": "0"}
    made = [await threads.private(sender, me) for sender in (ann, ben, ann)]
    await threads.private(me, me)
    await threads.update(made[0], me, unread=False)

    assert await get(client, headers, f"{PATH}/unread_count") == {"unread_count": "2"}
    assert await get(client, headers, f"{PATH}/unread_count.json") == {"unread_count": "2"}


async def test_a_lone_surrogate_or_nul_in_a_filter_is_a_client_error_at_most(
    client: ClientSession, token: Token, people: list[int], conn: asyncpg.Connection
) -> None:
    headers = await token(people[0])
    for value in ("uuid:%00", "%ED%A0%80", "course_%00", "user_99999999999999999999"):
        async with client.get(f"{PATH}?filter[]={value}", headers=headers) as response:
            assert response.status in (200, 400), value
            assert json.loads(await response.text()) is not None
