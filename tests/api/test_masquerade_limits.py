"""Acting as another user shows only what belongs to the actor's own accounts (canvas/semantics.md 13)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from service.application.inbox import batch_update
from service.domain.batch_updates import MISSING
from tests.support.conversations import Threads
from tests.support.http_calls import NOT_FOUND, call
from tests.support.institution import Institution
from tests.support.participants import participant_row

Token = Callable[..., Awaitable[dict[str, str]]]


@dataclass(frozen=True)
class Case:
    """A user with a conversation of this root account, one of both, one of another's, and one of none."""

    user: int
    own: int
    both: int
    foreign: int
    homeless: int


@pytest.fixture
async def case(institution: Institution, threads: Threads, conn: asyncpg.Connection) -> Case:
    elsewhere = await institution.account()
    user, ann = await institution.users(2)
    made = [await threads.private(ann, user) for _ in range(4)]
    roots = [[1], [1, elsewhere], [elsewhere], []]
    for conversation, accounts in zip(made, roots, strict=True):
        await conn.execute(
            "UPDATE sends SET root_account_ids = $2 FROM conversations c WHERE c.id = $1 AND sends.id = c.send_id",
            conversation,
            accounts,
        )
    return Case(user, *made)


@pytest.fixture
async def admin(institution: Institution, token: Token) -> dict[str, str]:
    user = await institution.user()
    await institution.admin(user)
    return await token(user)


async def test_the_list(client: ClientSession, admin: dict[str, str], case: Case, token: Token) -> None:
    async def listed(headers: dict[str, str], query: str) -> Any:
        return await call(client, headers, "GET", f"/conversations?include_all_conversation_ids=1{query}")

    found = await listed(admin, f"&as_user_id={case.user}")
    assert [c["id"] for c in found["conversations"]] == found["conversation_ids"] == [case.own]
    found = await listed(await token(case.user), "")
    assert found["conversation_ids"] == [case.homeless, case.foreign, case.both, case.own]


async def test_the_pages_of_the_list(client: ClientSession, admin: dict[str, str], case: Case) -> None:
    path = f"/api/v1/conversations?as_user_id={case.user}&per_page=1"
    async with client.get(path, headers=admin) as response:
        assert [c["id"] for c in await response.json()] == [case.own]
        assert 'rel="next"' not in response.headers["Link"]


@pytest.mark.parametrize(
    ("method", "suffix", "sent"),
    [
        ("GET", "", None),
        ("PUT", "", {"conversation": {"starred": True}}),
        ("POST", "/remove_messages", {"remove": ["12"]}),
        ("DELETE", "", None),
    ],
)
async def test_single_conversations(
    *, client: ClientSession, admin: dict[str, str], case: Case, method: str, suffix: str, sent: Any
) -> None:
    async def ask(conversation: int, status: int) -> Any:
        path = f"/conversations/{conversation}{suffix}?as_user_id={case.user}"
        return await call(client, admin, method, path, status=status, json=sent)

    assert (await ask(case.own, 200))["id"] == case.own
    for hidden in (case.both, case.foreign, case.homeless):
        assert await ask(hidden, 404) == NOT_FOUND


async def test_site_administrators_see_everything(
    client: ClientSession, institution: Institution, token: Token, case: Case
) -> None:
    operator = await institution.user()
    await institution.admin(operator, account=await institution.account(site_admin=True))
    headers = await token(operator)

    found = await call(client, headers, "GET", f"/conversations?as_user_id={case.user}")

    assert [c["id"] for c in found] == [case.homeless, case.foreign, case.both, case.own]
    for conversation in (case.foreign, case.homeless):
        await call(client, headers, "GET", f"/conversations/{conversation}?as_user_id={case.user}")


async def test_an_administrator_of_both_accounts_sees_what_belongs_to_both(
    client: ClientSession, institution: Institution, token: Token, case: Case, conn: asyncpg.Connection
) -> None:
    user = await institution.user()
    for account in await conn.fetch("SELECT id FROM accounts"):
        await institution.admin(user, account=account["id"])

    found = await call(client, await token(user), "GET", f"/conversations?as_user_id={case.user}")

    assert [c["id"] for c in found] == [case.foreign, case.both, case.own]


async def test_a_context_brings_its_root_account_along(
    client: ClientSession, institution: Institution, token: Token, admin: dict[str, str]
) -> None:
    """A conversation about another root account's course is not shown to who administers this one alone."""
    elsewhere = await institution.account()
    users = ann, ben = await institution.users(2)
    await institution.associate(users)
    foreign = await institution.course(account=await institution.account(elsewhere, root=elsewhere))
    group, own = await institution.group(course=foreign, members=users), await institution.course()
    for course in (foreign, own):
        await institution.enroll(course, users, "Teacher")
    made: dict[str, int] = {}
    for code in (f"course_{foreign}", f"group_{group}", f"course_{own}", ""):
        sent = {"recipients": [str(ben)], "body": "Hello", "context_code": code, "group_conversation": True}
        (shown,) = await call(client, await token(ann), "POST", "/conversations", status=201, json=sent)
        made[code] = shown["id"]

    found = await call(client, admin, "GET", f"/conversations?as_user_id={ben}")

    assert [c["id"] for c in found] == [made[""], made[f"course_{own}"]]
    for code, status in ((f"course_{foreign}", 404), (f"group_{group}", 404), (f"course_{own}", 200)):
        await call(client, admin, "GET", f"/conversations/{made[code]}?as_user_id={ben}", status=status)


async def test_a_later_message_from_another_root_account_counts(
    client: ClientSession, admin: dict[str, str], case: Case, threads: Threads, conn: asyncpg.Connection
) -> None:
    await threads.reply(case.own, case.user, "From elsewhere")
    await conn.execute("UPDATE sends SET root_account_ids = '{77}' WHERE body = 'From elsewhere'")
    assert await call(client, admin, "GET", f"/conversations?as_user_id={case.user}") == []
    await call(client, admin, "GET", f"/conversations/{case.own}?as_user_id={case.user}", status=404)


async def test_what_is_out_of_reach_is_neither_answered_nor_forwarded(
    client: ClientSession, admin: dict[str, str], case: Case, token: Token
) -> None:
    """The answers would show what the list does not."""
    body: dict[str, Any] = {"body": "Reply"}
    for conversation, status in ((case.own, 200), (case.both, 404), (case.foreign, 404)):
        path = f"/conversations/{conversation}/add_message?as_user_id={case.user}"
        await call(client, admin, "POST", path, status=status, json=body)
        path = f"/conversations/{case.own}/add_message?as_user_id={case.user}"
        status_of_forward = 200 if status == 200 else 400
        forward = body | {"forwarded_message_ids": [conversation]}
        await call(client, admin, "POST", path, status=status_of_forward, json=forward)
        sent = {"body": "See", "recipients": [str(case.user)], "forwarded_message_ids": [conversation]}
        path = f"/conversations?as_user_id={case.user}"
        await call(client, admin, "POST", path, status=201 if status == 200 else 400, json=sent)
        await call(client, await token(case.user), "POST", "/conversations", status=201, json=sent)


async def test_another_right_in_the_other_account_shows_nothing_of_it(
    client: ClientSession, institution: Institution, token: Token, case: Case, conn: asyncpg.Connection
) -> None:
    user = await institution.user()
    await institution.admin(user)
    elsewhere = await conn.fetchval("SELECT max(id) FROM accounts")
    await institution.admin(user, account=elsewhere, role="Registrar")
    for permission in ("read_roster", "send_messages"):
        await institution.override(permission, "Registrar", True, account=elsewhere)

    found = await call(client, await token(user), "GET", f"/conversations?as_user_id={case.user}")

    assert [c["id"] for c in found] == [case.own]


async def test_what_is_unread_is_counted_as_it_is_listed(
    client: ClientSession, admin: dict[str, str], case: Case, token: Token
) -> None:
    async def counted(headers: dict[str, str], query: str = "") -> Any:
        return (await call(client, headers, "GET", f"/conversations/unread_count{query}"))["unread_count"]

    assert await counted(await token(case.user)) == "4"
    assert await counted(admin, f"?as_user_id={case.user}") == "1"


async def test_only_what_is_shown_is_marked_as_read(
    client: ClientSession, admin: dict[str, str], case: Case, conn: asyncpg.Connection
) -> None:
    path = f"/conversations/mark_all_as_read?as_user_id={case.user}"
    for _ in range(2):
        assert await call(client, admin, "POST", path) == {}
        unread = {id_ for id_ in vars(case).values() if id_ != case.user and await is_unread(conn, id_, case.user)}
        assert unread == {case.both, case.foreign, case.homeless}
        count = await call(client, admin, "GET", f"/conversations/unread_count?as_user_id={case.user}")
        assert count == {"unread_count": "0"}


async def is_unread(conn: asyncpg.Connection, conversation: int, user: int) -> bool:
    return bool((await participant_row(conn, conversation, user))["unread"])


async def test_a_batch_update_leaves_what_is_not_shown_alone(
    *,
    client: ClientSession,
    admin: dict[str, str],
    case: Case,
    token: Token,
    threads: Threads,
    conn: asyncpg.Connection,
) -> None:
    async def update(headers: dict[str, str], query: str, *ids: object) -> Any:
        sent = {"conversation_ids": [str(id_) for id_ in ids], "event": "star"}
        made = await call(client, headers, "PUT", f"/conversations{query}", json=sent)
        async with conn.transaction():
            await batch_update.carry_out(conn, made["id"])
        return await call(client, headers, "GET", f"/progress/{made['id']}{query}")

    hidden = (case.both, case.foreign, case.homeless)
    of_others = await threads.private(10**6, 10**6 + 1)
    asked = ("nonsense", of_others, case.foreign, case.own, case.both, case.homeless)
    done = await update(admin, f"?as_user_id={case.user}", *asked)
    failures = f"nonsense, {of_others}, {case.foreign}, {case.both}, {case.homeless}"
    assert done["message"] == f"1 conversation processed\n{MISSING}: {failures}"
    assert (done["workflow_state"], done["completion"]) == ("completed", 100.0)
    assert (await participant_row(conn, case.own, case.user))["starred"]
    for conversation in hidden:
        assert not (await participant_row(conn, conversation, case.user))["starred"]
    assert (await update(admin, f"?as_user_id={case.user}", *hidden))["workflow_state"] == "failed"
    done = await update(await token(case.user), "", *hidden)
    assert (done["workflow_state"], done["message"]) == ("completed", "3 conversations processed")


async def test_batches(
    client: ClientSession, admin: dict[str, str], institution: Institution, token: Token, conn: asyncpg.Connection
) -> None:
    teacher, *students = await institution.users(4)
    course = await institution.course()
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, students)
    headers, made = await token(teacher), []
    for roots in ([1], [1, 77], [77], []):
        sent = {"recipients": list(map(str, students)), "body": "Hello", "force_new": True, "mode": "async"}
        async with client.post("/api/v1/conversations", headers=headers, json=sent) as response:
            made.append(int(response.headers["X-Conversation-Batch-Id"]))
        await conn.execute(
            "UPDATE sends SET root_account_ids = $2 FROM batches b WHERE b.id = $1 AND sends.id = b.send_id",
            made[-1],
            roots,
        )

    for query in (f"?as_user_id={teacher}", f"?as_user_id={teacher}&state[]=created&per_page=1"):
        async with client.get(f"/api/v1/conversations/batches{query}", headers=admin) as response:
            assert [batch["id"] for batch in await response.json()] == made[:1]
            assert 'rel="next"' not in response.headers["Link"]
    for batch, status in zip(made, (200, 404, 404, 404), strict=True):
        path = f"/conversations/batches/{batch}"
        for shown in (path, f"{path}/recipients"):
            await call(client, admin, "GET", f"{shown}?as_user_id={teacher}", status=status)
            await call(client, headers, "GET", shown)
    assert [batch["id"] for batch in await call(client, headers, "GET", "/conversations/batches")] == made


async def test_a_message_into_a_thread_out_of_reach_is_answered_without_the_thread(
    client: ClientSession, admin: dict[str, str], institution: Institution, token: Token, conn: asyncpg.Connection
) -> None:
    """A private message goes into the thread that is there, whose subject and counts the answer would show."""
    teacher, *students = await institution.users(3)
    course = await institution.course()
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, students)
    first = {"recipients": [str(students[0])], "subject": "Secret", "body": "Hello"}
    (hidden,) = await call(client, await token(teacher), "POST", "/conversations", status=201, json=first)
    await conn.execute("UPDATE sends SET root_account_ids = '{77}'")
    path = f"/conversations?as_user_id={teacher}"

    again = {"recipients": [str(students[0])], "body": "Again"}
    assert await call(client, admin, "POST", path, status=201, json=again) == []
    both = {"recipients": list(map(str, students)), "body": "Both"}
    (shown,) = await call(client, admin, "POST", path, status=201, json=both)

    assert shown["audience"] == students[1:]
    whole = await call(client, await token(teacher), "GET", f"/conversations/{hidden['id']}")
    assert [message["body"] for message in whole["messages"]] == ["Both", "Again", "Hello"]


async def test_a_conversation_out_of_reach_makes_nobody_acceptable(
    client: ClientSession, admin: dict[str, str], case: Case, conn: asyncpg.Connection, token: Token
) -> None:
    """Else its participants could be found out."""
    ann = await conn.fetchval("SELECT author_id FROM sends LIMIT 1")

    async def ask(conversation: int, headers: dict[str, str], **acting: str) -> bool:
        params = {"user_id": str(ann), "from_conversation_id": str(conversation), **acting}
        found = await call(client, headers, "GET", "/search/recipients", params=params)
        sent = {"recipients": [str(ann)], "body": "Hello", "from_conversation_id": conversation, **acting}
        status = 201 if found else 400
        await call(client, headers, "POST", "/conversations", status=status, json=sent)
        return bool(found)

    acting = {"as_user_id": str(case.user)}
    assert [await ask(id_, admin, **acting) for id_ in (case.both, case.foreign, case.homeless)] == [False] * 3
    assert await ask(case.own, admin, **acting)
    assert await ask(case.foreign, await token(case.user))
