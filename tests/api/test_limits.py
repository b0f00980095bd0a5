"""Every list and text that a client can lengthen has a bound, and one beyond it is refused by name."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, web

from service.api.app import build_app
from service.application.parameters.types import MAX_ITEMS, MAX_RECIPIENTS
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.conversations import Threads
from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]


@pytest.mark.parametrize("path", ["/search/recipients", "/conversations/find_recipients"])
async def test_a_search_has_so_many_words_and_characters(
    client: ClientSession, token: Token, school: School, path: str
) -> None:
    headers = await token(school.students[0])
    longest = "e" * 255
    for search in (" ".join(["e"] * 10), longest):
        assert await call(client, headers, "GET", path, params={"search": search}) in (
            [],
            await everyone(client, headers),
        )
    for search in (" ".join(["e"] * 11), f"{longest}e", "a " * 200):
        (refused,) = await call(client, headers, "GET", path, status=400, params={"search": search})
        assert refused["attribute"] == "search"


async def everyone(client: ClientSession, headers: dict[str, str]) -> Any:
    """Whom a search for one letter of the name of all of them finds."""
    return await call(client, headers, "GET", "/search/recipients", params={"search": "e"})


LISTS = {
    "GET /conversations": ["filter", "include"],
    "GET /conversations/:id": ["filter", "include"],
    "GET /conversations/batches": ["state"],
    "GET /conversations/deleted": ["user_id"],
    "GET /search/recipients": ["exclude", "type", "types", "permissions", "from_conversation_id"],
    "POST /conversations": ["attachment_ids", "forwarded_message_ids", "tags", "filter", "include"],
    "POST /conversations/:id/add_message": ["included_messages", "attachment_ids", "forwarded_message_ids", "tags"],
    "POST /conversations/:id/add_recipients": ["tags", "filter"],
    "POST /conversations/:id/remove_messages": ["remove"],
    "PUT /conversations/:id": ["filter"],
    "DELETE /conversations/:id": ["filter"],
}


@pytest.mark.parametrize(("route", "name"), [(route, name) for route, names in LISTS.items() for name in names])
async def test_a_list_has_so_many_values(
    *, client: ClientSession, token: Token, threads: Threads, school: School, route: str, name: str
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    method, path = route.replace(":id", str(conversation)).split()
    sent = {"body": "Hello", "recipients": [str(school.students[0])], name: ["1"] * (MAX_ITEMS + 1)}
    # A GET takes its parameters from the query: one value, split at commas, where the line would be too long.
    how: dict[str, Any] = {"json": sent}
    if method == "GET":
        how = {"params": [(f"{name}[]", "1")] * (MAX_ITEMS + 1)}

    (refused,) = await call(client, await token(school.teacher), method, path, status=400, **how)

    assert refused == {"attribute": name, "message": f"more than {MAX_ITEMS} values"}


@pytest.mark.parametrize(
    ("name", "joined"),
    [
        ("attachment_ids", True),
        ("attachment_ids", False),
        ("forwarded_message_ids", True),
        ("forwarded_message_ids", False),
        ("included_messages", False),
        ("tags", False),
    ],
)
async def test_five_hundred_values_are_as_many_as_a_list_may_have(
    *, client: ClientSession, token: Token, threads: Threads, school: School, name: str, joined: bool
) -> None:
    """README names the number. Ids that are joined by commas are counted one by one."""
    conversation, headers = await threads.group(school.teacher, school.students[:2]), await token(school.teacher)

    async def attribute(values: int) -> str | None:
        named: Any = [str(conversation)] * values
        sent = {"body": "Hello", name: ",".join(named) if joined else named}
        path = f"/api/v1/conversations/{conversation}/add_message"
        async with client.post(path, headers=headers, json=sent) as response:
            return None if response.status == 200 else (await response.json())[0]["attribute"]

    assert [await attribute(500), await attribute(501)] == [None, name]


@pytest.mark.parametrize("route", ["", "/:id/add_message", "/:id/add_recipients"])
@pytest.mark.parametrize("joined", [True, False])
async def test_so_many_recipients_can_be_named(
    *, client: ClientSession, token: Token, threads: Threads, school: School, route: str, joined: bool
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    named: Any = [str(10**6 + n) for n in range(MAX_RECIPIENTS + 1)]
    sent = {"body": "Hello", "recipients": ",".join(named) if joined else named}
    path = f"/conversations{route.replace(':id', str(conversation))}"

    (refused,) = await call(client, await token(school.teacher), "POST", path, status=400, json=sent)

    assert refused == {"attribute": "recipients", "message": f"more than {MAX_RECIPIENTS} values"}


async def test_as_many_as_may_be_sent_are_looked_at(
    client: ClientSession, token: Token, school: School, institution: Institution
) -> None:
    people = await institution.users(MAX_RECIPIENTS - 1)
    await institution.enroll(school.course, people)
    sent = {"body": "x", "recipients": [str(school.teacher), *map(str, people)], "force_new": True, "mode": "async"}
    await call(client, await token(school.teacher), "POST", "/conversations", status=202, json=sent)


async def test_many_filters_mean_what_few_mean(
    client: ClientSession, token: Token, threads: Threads, school: School
) -> None:
    """They are looked up in another way than a few are."""
    teacher, (ann, ben, *rest) = school.teacher, school.students
    with_ann = await threads.private(ann, teacher, tags=["course_5"])
    with_both = await threads.group(ann, [teacher, ben])
    tagged = await threads.private(rest[-1], teacher, tags=[f"course_{school.course}"])
    headers = await token(teacher)

    async def listed(users: list[int], *codes: str, mode: str = "or") -> list[int]:
        params = [("filter[]", f"user_{user}") for user in users] + [("filter[]", code) for code in codes]
        found = await call(client, headers, "GET", "/conversations", params=[*params, ("filter_mode", mode)])
        return [conversation["id"] for conversation in found]

    strangers = list(range(900_000, 900_200))
    assert await listed([ann]) == await listed([ann, *strangers]) == [with_both, with_ann]
    assert await listed([ben, *strangers]) == [with_both]
    assert await listed([ben, *strangers], f"course_{school.course}") == [tagged, with_both]
    assert await listed([ann], "course_5", mode="and") == [with_ann]
    assert await listed([ann, *strangers], mode="and") == []
    assert await listed([teacher, ann, ben], mode="and") == [with_both]
    everybody = await threads.group(ann, [teacher, *rest[:20]])
    assert await listed([teacher, ann, *rest[:20]], mode="and") == [everybody]


async def test_a_synchronous_bulk_send_to_very_many_is_carried_out_asynchronously(
    *,
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    serve: Callable[[web.Application], Awaitable[ClientSession]],
    token: Token,
    school: School,
    conn: asyncpg.Connection,
) -> None:
    """CONTRACT 6.22"""
    few = edge_settings.model_copy(update={"max_synchronous_recipients": 3})
    client, headers = await serve(build_app(few, pool, broker)), await token(school.teacher)

    async def send(recipients: int, **how: Any) -> tuple[int, int, str | None]:
        sent = {"recipients": [str(student) for student in school.students[:recipients]], "body": "Hello", **how}
        async with client.post("/api/v1/conversations", headers=headers, json=sent) as response:
            return response.status, len(await response.json()), response.headers.get("X-Conversation-Batch-Id")

    for how in ({"force_new": True}, {"group_conversation": True, "bulk_message": True}, {}):
        assert await send(3, **how) == (201, 3, None)
        status, shown, batch = await send(4, **how)
        assert (status, shown) == (202, 0)
        state = await conn.fetchrow("SELECT total, delivered FROM batches WHERE id = $1", int(batch or 0))
        assert tuple(state or ()) == (4, 0)
    assert await send(4, group_conversation=True) == (201, 1, None)
