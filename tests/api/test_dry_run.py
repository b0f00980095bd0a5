"""dry_run of POST /conversations (CONTRACT 3.2): what would happen, and that nothing does."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]
Send = Callable[..., Awaitable[Any]]

# The throttle and the token's last use are of any request.
NOT_COUNTED = {"throttle_buckets", "access_tokens"}


@pytest.fixture
def send(client: ClientSession, token: Token, school: School) -> Send:
    """A message of the teacher's; the answer's JSON."""

    async def ask(status: int = 201, **parts: Any) -> Any:
        sent = {"body": "Hello", **parts}
        return await call(client, await token(school.teacher), "POST", "/conversations", status=status, json=sent)

    return ask


@pytest.fixture
def dry_run(send: Send) -> Send:
    """The same as a dry run."""

    async def ask(status: int = 200, **parts: Any) -> Any:
        return await send(status, dry_run="1", **parts)

    return ask


async def contents(conn: asyncpg.Connection) -> dict[str, Any]:
    """Rows of every table, as text."""
    names = await conn.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL ($1::text[])",
        list(NOT_COUNTED),
    )
    return {
        name: await conn.fetchval(f"SELECT coalesce(jsonb_agg(t ORDER BY t::text), '[]') FROM {name} t")
        for (name,) in names
    }


async def test_it_says_what_a_bulk_message_to_a_course_would_do(dry_run: Send, school: School) -> None:
    course = f"course_{school.course}"
    answer = await dry_run(
        recipients=[course], context_code=course, group_conversation=True, bulk_message=True, mode="async"
    )
    assert answer == {
        "dry_run": True,
        "mode": "async",
        "kind": "bulk_separate",
        "total": 250,
        "new_conversations": 250,
        "reused_conversations": 0,
        "limit": None,
        "rejected": [],
        "rejected_count": 0,
    }


async def test_private_threads_that_there_are_would_be_reused(dry_run: Send, send: Send, school: School) -> None:
    named = [str(student) for student in school.students[:5]]
    await send(recipients=named[:3])

    bulk, one = await dry_run(recipients=named), await dry_run(recipients=named[:1], mode="async")

    parts = ("kind", "mode", "total", "new_conversations", "reused_conversations", "limit")
    assert [bulk[part] for part in parts] == ["bulk_private", "sync", 5, 2, 3, 100]
    assert [one[part] for part in parts] == ["private", "sync", 1, 0, 1, 100]


async def test_a_group_is_one_conversation(dry_run: Send, school: School) -> None:
    answer = await dry_run(recipients=[str(s) for s in school.students[:5]], group_conversation=True, mode="async")
    assert (answer["kind"], answer["mode"], answer["total"]) == ("group", "sync", 5)
    assert (answer["new_conversations"], answer["reused_conversations"], answer["limit"]) == (1, 0, 100)


@pytest.mark.parametrize("people", [1, 2])
async def test_what_the_answer_promises_is_what_the_send_does(
    dry_run: Send, send: Send, school: School, conn: asyncpg.Connection, people: int
) -> None:
    """In turn: the second send reuses what the first has opened."""
    named = [str(student) for student in school.students[:people]]
    for reused in (0, people):
        promised = await dry_run(recipients=named)
        before = await conn.fetchval("SELECT count(*) FROM conversations")
        assert len(await send(recipients=named)) == promised["total"]
        opened = await conn.fetchval("SELECT count(*) FROM conversations") - before
        assert (opened, promised["reused_conversations"]) == (promised["new_conversations"], reused)


async def test_those_who_would_not_get_it_are_named_with_the_reason(
    dry_run: Send, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    stranger, deleted = await institution.users(2)
    await conn.execute("UPDATE users SET workflow_state = 'deleted' WHERE id = $1", deleted)
    empty = await institution.course("Chemistry")
    gone = await institution.course("Physics", state="deleted")
    group = await institution.group(members=school.students[:2])
    nobodys = await institution.group(course=school.course)
    expected = {
        str(stranger): "not_reachable",
        f"uuid:uuid-{stranger}": "not_reachable",
        str(deleted): "deleted",
        "999999": "unknown",
        "10000000999998": "unknown",
        "uuid:nowhere": "unknown",
        str(school.teacher): "yourself",
        "banana": "malformed",
        "course_1_bananas": "malformed",
        f"course_{empty}_teachers": "not_reachable",
        f"course_{school.course}_tas": "not_reachable",
        f"course_{gone}_teachers": "deleted",
        "section_99": "unknown",
        f"group_{group}": "not_reachable",
        f"group_{nobodys}": "not_reachable",
        "group_99": "unknown",
    }
    student = str(school.students[0])

    answer = await dry_run(
        recipients=[student, student, f"course_{school.course}_students", *expected],
        group_conversation=True,
        bulk_message=True,
    )

    assert {each["recipient"]: each["reason"] for each in answer["rejected"]} == expected
    assert (answer["total"], answer["rejected_count"]) == (250, len(expected))


async def test_no_more_than_a_thousand_are_shown(dry_run: Send, school: School) -> None:
    unknown = ",".join(str(900_000 + n) for n in range(1_500))
    answer = await dry_run(recipients=[str(school.students[0]), unknown])
    assert (len(answer["rejected"]), answer["rejected_count"]) == (1_000, 1_500)


async def test_a_message_to_oneself_is_none_to_reject(dry_run: Send, school: School) -> None:
    answer = await dry_run(recipients=[str(school.teacher)])
    assert (answer["kind"], answer["total"], answer["rejected"]) == ("private", 1, [])


@pytest.mark.parametrize(
    "parts",
    [
        {"recipients": []},
        {"recipients": ["999999"]},
        {"recipients": ["102"], "body": " "},
        {"recipients": [102]},
        {"recipients": ["102"], "subject": "x" * 300},
        {"recipients": ["course_1001"], "context_code": "course_1001"},  # 250 are too many for private threads
        {"recipients": ["102"], "context_code": "course_99"},
        {"recipients": ["102"], "forwarded_message_ids": [1]},
        {"recipients": ["102"], "send_at": "2020-01-01T00:00:00Z"},
    ],
)
async def test_what_a_send_would_be_refused_with_refuses_this_too(
    dry_run: Send, send: Send, school: School, parts: dict[str, Any]
) -> None:
    assert (school.course, school.students[0]) == (1001, 102)
    status = 404 if parts.get("context_code") == "course_99" else 400

    assert await dry_run(status, **parts) == await send(status, **parts)


async def test_what_is_restricted_by_role_refuses_the_whole(
    client: ClientSession, token: Token, school: School
) -> None:
    course = f"course_{school.course}"
    sent = {"recipients": [course], "body": "Hello", "dry_run": True, "group_conversation": True, "bulk_message": True}
    answer = await call(client, await token(school.students[0]), "POST", "/conversations", status=400, json=sent)
    assert answer == [{"attribute": "recipients", "message": "restricted by role"}]


async def test_one_that_would_start_later_is_asynchronous_whatever_it_is(
    dry_run: Send, school: School, conn: asyncpg.Connection
) -> None:
    answer = await dry_run(recipients=[str(school.students[0])], send_at=await tomorrow(conn))
    assert (answer["kind"], answer["mode"]) == ("private", "async")


async def tomorrow(conn: asyncpg.Connection) -> str:
    """By the database's clock, as a client writes it."""
    found: str = await conn.fetchval("SELECT to_char(now() + interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SSOF:00')")
    return found


async def test_nothing_is_stored_or_recorded(
    dry_run: Send, send: Send, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    await send(recipients=[str(school.students[0])])
    file = await institution.attachment(school.teacher)
    before = await contents(conn)
    course = f"course_{school.course}"
    bulk = {"recipients": [course], "context_code": course, "group_conversation": True, "bulk_message": True}
    more = {
        "attachment_ids": [file],
        "media_comment_id": "m-new",
        "media_comment_type": "video",
        "user_note": True,
        "tags": [course],
    }

    for parts in (
        bulk,
        bulk | {"mode": "async"},
        bulk | {"send_at": await tomorrow(conn)},
        {"recipients": [str(school.students[0])]},
        {"recipients": [str(s) for s in school.students[:9]], "group_conversation": True},
    ):
        await dry_run(**parts, **more)

    assert await contents(conn) == before
