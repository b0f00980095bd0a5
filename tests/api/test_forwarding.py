"""Which messages may be forwarded, and how much of what is forwarded an answer shows (canvas/semantics.md 7.6)."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from service.domain.forwards import MAX_FORWARDED_BYTES
from tests.support.conversations import Threads
from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]
NOTES = 12


@pytest.mark.parametrize("withheld", ["restricted", "written before one joined", "deleted", "deleted with the thread"])
@pytest.mark.parametrize("route", ["create", "add_message"])
async def test_only_messages_one_has_can_be_forwarded(
    *,
    client: ClientSession,
    token: Token,
    threads: Threads,
    school: School,
    conn: asyncpg.Connection,
    withheld: str,
    route: str,
) -> None:
    """Taking part in a conversation is not having all of its messages."""
    author, other, friend = school.students[:3]
    conversation = await threads.group(school.teacher, [author, other])
    secret = await threads.reply(
        conversation, school.teacher, "Secret", only=[other] if withheld == "restricted" else None
    )
    if withheld == "written before one joined":
        written = await conn.fetchval("SELECT created_at FROM sends WHERE body = 'Secret'")
        await threads.update(conversation, author, history_from=written + timedelta(seconds=1))
    elif withheld == "deleted":
        await threads.delete_message(conversation, secret, author)
    elif withheld == "deleted with the thread":
        await threads.delete(conversation, author)
    own = await threads.reply(conversation, other, "For all")
    mine, headers = await threads.private(author, friend), await token(author)

    async def forward(ids: list[int], status: int) -> Any:
        sent = {"body": "See", "forwarded_message_ids": ids, "recipients": [str(school.teacher)]}
        if route == "create":
            return await call(client, headers, "POST", "/conversations", status=status or 201, json=sent)
        path = f"/conversations/{mine}/add_message"
        sent["recipients"] = [str(friend)]
        return await call(client, headers, "POST", path, status=status or 200, json=sent)

    for ids in ([secret], [own, secret], [secret, own]):
        assert (await forward(ids, 400))[0]["attribute"] == "forwarded_message_ids"
    assert "For all" in json.dumps(await forward([own], 0))


async def test_what_may_be_forwarded_of_a_conversation_that_is_archived_sent_or_was_emptied(
    client: ClientSession, token: Token, threads: Threads, school: School
) -> None:
    """No one index holds all conversations of a user: a message of each kind of row is found."""
    author, other = school.teacher, school.students[0]
    archived = await threads.private(other, author)
    first = await threads.reply(archived, other, "Archived")
    await threads.update(archived, author, archived=True)
    sent = await threads.private(author, school.students[1])
    second = await threads.reply(sent, author, "Sent")
    emptied = await threads.group(author, [other])
    await threads.delete(emptied, author)
    third = await threads.reply(emptied, author, "Only mine", only=[author])
    await threads.update(emptied, author, visible_last_authored_at=None)
    headers = await token(author)

    texts = {archived: "Hello", first: "Archived", sent: "Hello", second: "Sent", third: "Only mine"}
    for message, text in texts.items():
        sent_message = {"body": "See", "forwarded_message_ids": [message], "recipients": [str(other)]}
        (made,) = await call(client, headers, "POST", "/conversations", status=201, json=sent_message)
        assert [m["body"] for m in made["messages"][0]["forwarded_messages"]] == [text]


def forwarded_text(shown: Any) -> int:
    """Bytes of JSON of the forwarded messages in an answer."""
    if isinstance(shown, list):
        return sum(forwarded_text(item) for item in shown)
    if not isinstance(shown, dict):
        return 0
    below = shown.get("forwarded_messages")
    here = len(json.dumps(below, ensure_ascii=False, separators=(",", ":")).encode()) if below else 0
    return here + sum(forwarded_text(value) for key, value in shown.items() if key != "forwarded_messages")


async def test_twelve_notes_that_each_forward_all_before(
    client: ClientSession, token: Token, institution: Institution
) -> None:
    """2^12 messages below the last one; each is shown once, and the answer stays small."""
    author = await institution.user()
    headers = await token(author)
    written: list[int] = []
    for n in range(NOTES):
        sent = {"body": chr(ord("a") + n) * 65_000, "forwarded_message_ids": written, "recipients": [str(author)]}
        (made,) = await call(client, headers, "POST", "/conversations", status=201, json=sent)
        written.append(made["messages"][0]["id"])
        assert forwarded_text(made) <= MAX_FORWARDED_BYTES
        assert [m["id"] for m in made["messages"][0]["forwarded_messages"]] == written[-2::-1]
    thread = made["id"]

    shown = await call(client, headers, "GET", f"/conversations/{thread}")
    assert [m["id"] for m in shown["messages"]] == written[::-1]
    assert forwarded_text(shown) <= MAX_FORWARDED_BYTES
    assert [m["id"] for m in shown["messages"][0]["forwarded_messages"]] == written[-2::-1]
    replied = await call(
        *(client, headers, "POST", f"/conversations/{thread}/add_message"),
        json={"body": "All of it", "forwarded_message_ids": written},
    )
    assert forwarded_text(replied) <= MAX_FORWARDED_BYTES
    assert [m["id"] for m in replied["messages"][0]["forwarded_messages"]] == written[::-1]
    assert forwarded_text(await call(client, headers, "GET", "/conversations?scope=sent")) == 0


async def test_deleted_messages_that_forward_much(
    client: ClientSession, token: Token, institution: Institution, threads: Threads
) -> None:
    """A message that several have deleted stands in the list several times, what it forwards once if it is much."""
    operator, author, *others = await institution.users(6)
    await institution.admin(operator, account=await institution.account(site_admin=True))
    source = await threads.private(author, others[0], "a" * 900_000)
    large = await threads.group(author, others, forwards=[source])
    small = await threads.group(author, others, forwards=[await threads.private(author, others[0], "Short")])
    for user in others:
        await threads.delete(large, user)
        await threads.delete(small, user)
    query = "&".join(f"user_id[]={user}" for user in others)

    found = await call(client, await token(operator), "GET", f"/conversations/deleted?{query}")

    assert len(found) == 2 * len(others)
    assert forwarded_text(found) <= MAX_FORWARDED_BYTES
    assert [len(m["forwarded_messages"]) for m in found if m["id"] == large] == [1, 0, 0, 0]
    query = f"user_id={others[1]}&conversation_id={large}"
    (only,) = await call(client, await token(operator), "GET", f"/conversations/deleted?{query}")
    assert len(only["forwarded_messages"]) == 1
