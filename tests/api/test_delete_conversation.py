"""DELETE /conversations/:id, …/remove_messages, mark_all_as_read (canvas/endpoints.md 4.6, 4.7, 4.10)."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.api.test_update_conversation import KEYS
from tests.support.conversations import Threads
from tests.support.http_calls import NOT_FOUND, call
from tests.support.institution import Institution
from tests.support.participants import all_of_others, bodies, participant_row

Token = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(4)


@pytest.fixture
async def me(token: Token, people: list[int]) -> dict[str, str]:
    return await token(people[0])


class TestDelete:
    async def test_empties_ones_own_view_alone(
        self,
        *,
        client: ClientSession,
        me: dict[str, str],
        people: list[int],
        institution: Institution,
        threads: Threads,
        conn: asyncpg.Connection,
    ) -> None:
        course = await institution.course()
        await institution.enroll(course, people)
        mine, ann, ben, _ = people
        made = await threads.group(ann, [mine, ben], tags=[f"course_{course}"], attachments=[1])
        await threads.reply(made, mine)
        await threads.added(made, ann, [ben])
        await threads.update(made, mine, starred=True, subscribed=False)
        before = await all_of_others(conn, mine)

        shown = await call(client, me, "DELETE", f"/conversations/{made}")

        assert shown.keys() == KEYS
        expected = {
            "id": made,
            "workflow_state": "read",
            "last_message": None,
            "last_message_at": None,
            "last_authored_message": None,
            "last_authored_message_at": None,
            "message_count": 0,
            "starred": False,
            "subscribed": False,
            "private": False,
            "properties": [],
            "audience_contexts": {"courses": {}, "groups": {}},
            "visible": False,
        }
        assert {key: shown[key] for key in expected} == expected
        assert sorted(shown["audience"]) == [ann, ben]
        assert await all_of_others(conn, mine) == before
        assert await call(client, me, "GET", "/conversations/unread_count") == {"unread_count": "0"}
        for method in ("GET", "DELETE"):
            assert await call(client, me, method, f"/conversations/{made}", status=404) == NOT_FOUND

    async def test_leaves_it_in_the_archive_and_ignores_a_filter_mode(
        self, client: ClientSession, me: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        made = await threads.private(people[1], people[0])
        await threads.update(made, people[0], archived=True)

        shown = await call(client, me, "DELETE", f"/conversations/{made}.json?filter_mode=xor&scope=archived")

        assert (shown["workflow_state"], shown["visible"], shown["private"]) == ("archived", False, True)

    async def test_a_new_message_brings_it_back_with_that_message_only(
        self, client: ClientSession, me: dict[str, str], token: Token, institution: Institution, people: list[int]
    ) -> None:
        course = await institution.course()
        await institution.enroll(course, people[0])
        await institution.enroll(course, people[1], "Teacher")
        teacher = await token(people[1])
        message = {"recipients": [str(people[0])], "body": "One"}
        (first,) = await call(client, teacher, "POST", "/conversations", status=201, json=message)
        await call(client, me, "DELETE", f"/conversations/{first['id']}")

        await call(client, teacher, "POST", "/conversations", status=201, json=message | {"body": "Two"})

        (listed,) = await call(client, me, "GET", "/conversations")
        assert (listed["id"], listed["message_count"], listed["workflow_state"]) == (first["id"], 1, "unread")
        shown = await call(client, me, "GET", f"/conversations/{first['id']}")
        assert [m["body"] for m in shown["messages"]] == ["Two"]
        theirs = await call(client, teacher, "GET", f"/conversations/{first['id']}")
        assert [m["body"] for m in theirs["messages"]] == ["Two", "One"]

    async def test_is_404_for_outsiders(
        self, client: ClientSession, me: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        made = await threads.private(people[1], people[2])
        for path in (str(made), "12", "wat"):
            assert await call(client, me, "DELETE", f"/conversations/{path}", status=404) == NOT_FOUND


class TestRemoveMessages:
    @pytest.mark.parametrize("sent", ["json", "numbers", "brackets", "repeated", "query"])
    async def test_takes_ids_however_they_come(
        self,
        client: ClientSession,
        me: dict[str, str],
        people: list[int],
        threads: Threads,
        conn: asyncpg.Connection,
        *,
        sent: str,
    ) -> None:
        made = await threads.private(people[1], people[0], "One")
        second = await threads.reply(made, people[1], "Two")
        await threads.reply(made, people[0], "Three")
        before = await all_of_others(conn, people[0])
        path, ids = f"/conversations/{made}/remove_messages", [str(made), str(second)]

        match sent:
            case "json":
                shown = await call(client, me, "POST", path, json={"remove": ids})
            case "numbers":
                shown = await call(client, me, "POST", path, json={"remove": [made, second]})
            case "query":
                shown = await call(client, me, "POST", f"{path}?remove={made},{second}")
            case _:
                name = "remove[]" if sent == "brackets" else "remove"
                shown = await call(client, me, "POST", path, data=[(name, id_) for id_ in ids])

        assert shown.keys() == KEYS
        assert (shown["message_count"], shown["last_message"], shown["visible"]) == (1, "Three", True)
        assert shown["properties"] == ["last_author"]
        assert await bodies(conn, made, people[0]) == ["Three"]
        assert await all_of_others(conn, people[0]) == before

    async def test_of_the_last_one_resets_the_row(
        self, client: ClientSession, me: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        made = await threads.private(people[1], people[0])

        shown = await call(client, me, "POST", f"/conversations/{made}/remove_messages", json={"remove": [made]})

        assert (shown["message_count"], shown["last_message_at"], shown["visible"]) == (0, None, False)
        assert shown["workflow_state"] == "read"
        assert await call(client, me, "GET", f"/conversations/{made}", status=404) == NOT_FOUND

    @pytest.mark.parametrize("ids", [[], ["12"], ["wat"]])
    async def test_of_what_is_not_there_changes_nothing(
        self,
        client: ClientSession,
        me: dict[str, str],
        people: list[int],
        threads: Threads,
        conn: asyncpg.Connection,
        *,
        ids: list[str],
    ) -> None:
        made = await threads.private(people[1], people[0])
        before = await participant_row(conn, made, people[0])

        shown = await call(client, me, "POST", f"/conversations/{made}/remove_messages", json={"remove": ids})

        assert shown["message_count"] == 1
        assert await participant_row(conn, made, people[0]) == before

    async def test_without_remove_answers_nothing(
        self, client: ClientSession, me: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        made = await threads.private(people[1], people[0])
        path = f"/api/v1/conversations/{made}/remove_messages"
        async with client.post(path, headers=me) as response:
            assert (response.status, await response.read()) == (204, b"")

    async def test_refuses_in_order(
        self, client: ClientSession, me: dict[str, str], people: list[int], threads: Threads
    ) -> None:
        foreign, made = await threads.private(people[1], people[2]), await threads.private(people[1], people[0])
        path = "/conversations/{}/remove_messages?filter_mode=xor"
        assert await call(client, me, "POST", path.format(foreign), status=404) == NOT_FOUND
        refused = await call(client, me, "POST", path.format(made), status=400)
        assert refused == [{"attribute": "filter_mode", "message": "invalid"}]


async def test_all_is_read_at_once(
    client: ClientSession, me: dict[str, str], people: list[int], threads: Threads, conn: asyncpg.Connection
) -> None:
    mine, ann, *_ = people
    received = [await threads.private(ann, mine) for _ in range(2)]
    archived = await threads.private(ann, mine)
    await threads.update(archived, mine, archived=True)
    unanswered = await threads.private(mine, ann)
    await threads.update(unanswered, mine, unread=True)
    before = await all_of_others(conn, mine)

    assert await call(client, me, "POST", "/conversations/mark_all_as_read") == {}

    assert [(await participant_row(conn, made, mine))["unread"] for made in received] == [False, False]
    assert (await participant_row(conn, archived, mine))["archived"]
    assert (await participant_row(conn, unanswered, mine))["unread"]
    assert await call(client, me, "GET", "/conversations/unread_count") == {"unread_count": "0"}
    assert await all_of_others(conn, mine) == before
    assert await call(client, me, "POST", "/conversations/mark_all_as_read.json") == {}
