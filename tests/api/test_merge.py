"""What an inbox shows after two accounts were merged (canvas/semantics.md 2.6)."""

from collections.abc import Awaitable, Callable

import asyncpg
from aiohttp import ClientSession

from service.application.directory.events import apply
from tests.support.classroom import Classroom, Person
from tests.support.http_calls import call
from tests.support.user_merges import merged

Token = Callable[..., Awaitable[dict[str, str]]]


async def test_the_target_reads_and_goes_on_with_both_inboxes(
    client: ClientSession, token: Token, classroom: Classroom, conn: asyncpg.Connection
) -> None:
    teacher, old, target, other = classroom.teacher, classroom.first, classroom.second, classroom.third
    old_headers = await token(old.id)
    gone = await teacher.write(("recipients[]", old.id), ("subject", "First"), ("body", "To the old account"))
    await old.write(("recipients[]", teacher.id), ("body", "From the old account"))
    kept = await teacher.write(("recipients[]", target.id), ("subject", "Second"), ("body", "To the new account"))
    alone = await other.write(("recipients[]", old.id), ("body", "Just you"))
    group = await teacher.write(*classroom.to(old, target, other))

    await apply(conn, [merged(old.id, target.id)])

    await call(client, old_headers, "GET", "/conversations", status=401)
    assert set(await target.ids()) == {kept["id"], alone["id"], group["id"]}
    assert await target.get("/conversations/unread_count") == {"unread_count": "3"}
    shown = await target.get(f"/conversations/{kept['id']}", ("auto_mark_as_read", False))
    assert [(m["id"], m["body"], m["author_id"]) for m in shown["messages"][1:]] == [
        (shown["messages"][1]["id"], "From the old account", target.id),
        (gone["id"], "To the old account", teacher.id),
    ]
    assert (shown["subject"], shown["message_count"], shown["audience"]) == ("Second", 3, [teacher.id])
    assert {person["id"] for person in shown["participants"]} == {teacher.id, target.id}
    await target.get(f"/conversations/{gone['id']}", status=404)
    assert (await target.get(f"/conversations/{group['id']}"))["audience"] == [teacher.id, other.id]
    assert await sent_by(target) == {kept["id"]}
    assert gone["id"] not in await teacher.ids(("scope", "sent"))
    again = await other.write(("recipients[]", target.id))
    assert again["id"] == alone["id"]


async def sent_by(person: Person) -> set[int]:
    return set(await person.ids(("scope", "sent")))
