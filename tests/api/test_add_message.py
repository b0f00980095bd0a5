"""POST /api/v1/conversations/:id/add_message (canvas/endpoints.md 4.9): the answer, the effects, what it carries."""

from collections.abc import Awaitable, Callable

import asyncpg
from aiohttp import ClientSession, FormData

from sql.inbox import unread_count
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.participants import messages_of, participant_rows
from tests.support.replies import KEYS, MESSAGE_KEYS, Reply
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]


async def test_the_answer_is_complete_to_the_key(reply: Reply, threads: Threads, school: School) -> None:
    student = school.students[0]
    conversation = await threads.private(school.teacher, student, subject="Hi", tags=[f"course_{school.course}"])

    shown = await reply(student, conversation, body="Back", subject="dropped")

    assert shown.keys() == KEYS
    (message,) = shown["messages"]
    assert message.keys() == MESSAGE_KEYS
    assert (message["body"], message["author_id"], message["generated"]) == ("Back", student, False)
    assert sorted(message["participating_user_ids"]) == [school.teacher, student]
    expected = {
        "id": conversation,
        "subject": "Hi",
        "workflow_state": "unread",
        "last_message": "Back",
        "last_authored_message": "Back",
        "last_authored_message_at": message["created_at"],
        "message_count": 2,
        "private": True,
        "properties": ["last_author"],
        "audience": [school.teacher],
        "visible": True,
    }
    assert {key: shown[key] for key in expected} == expected
    assert all({"common_courses", "common_groups", "avatar_url"} <= p.keys() for p in shown["participants"])
    assert "uuid" not in shown["participants"][0]


async def test_scope_and_uuids_follow_the_request(reply: Reply, threads: Threads, school: School) -> None:
    conversation = await threads.private(school.teacher, school.students[0])

    sent = await reply(school.teacher, conversation, scope="sent", include=["uuid"])
    plain = await reply(school.teacher, conversation)

    assert (sent["visible"], plain["visible"]) == (True, False)
    assert sorted(p["uuid"] for p in sent["participants"]) == sorted(
        f"uuid-{user}" for user in (school.teacher, school.students[0])
    )


async def test_a_form_says_the_same(client: ClientSession, token: Token, threads: Threads, school: School) -> None:
    conversation = await threads.group(school.teacher, school.students[:3])
    form = FormData(
        [("body", "Back"), ("recipients[]", str(school.students[1])), ("recipients[]", str(school.students[2]))]
    )
    path = f"/api/v1/conversations/{conversation}/add_message.json"
    async with client.post(path, headers=await token(school.teacher), data=form) as response:
        assert response.status == 200
        (message,) = (await response.json())["messages"]
    assert message["participating_user_ids"] == [school.teacher, *school.students[1:3]]


async def test_everybody_gets_it_by_the_table_of_side_effects(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    subscribed, archived, muted, silent, gone = school.students[:5]
    author = subscribed
    conversation = await threads.group(school.teacher, [subscribed, archived, muted, silent])
    await threads.update(conversation, archived, unread=False, archived=True, starred=True)
    await threads.update(conversation, muted, unread=False, subscribed=False)
    await threads.delete(conversation, silent)
    await threads.update(conversation, author, unread=False, archived=True)
    before = await participant_rows(conn, conversation)

    at = (await reply(author, conversation))["messages"][0]["id"]

    after = await participant_rows(conn, conversation)
    when = await conn.fetchval(
        "SELECT s.created_at FROM messages m JOIN sends s ON s.id = m.send_id WHERE m.id = $1", at
    )
    assert gone not in after
    for user, count in {author: 2, archived: 2, muted: 2, silent: 1, school.teacher: 2}.items():
        assert after[user]["message_count"] == count
    for user in (archived, silent, school.teacher):
        assert (after[user]["unread"], after[user]["archived"], after[user]["last_message_at"]) == (True, False, when)
        assert after[user]["last_authored_at"] == before[user]["last_authored_at"]
    assert after[archived]["starred"] is True
    assert (after[muted]["unread"], after[muted]["subscribed"]) == (False, False)
    assert after[muted]["last_message_at"] == before[muted]["last_message_at"]
    assert (after[author]["unread"], after[author]["archived"]) == (False, True)
    assert after[author]["last_message_at"] == before[author]["last_message_at"]
    assert after[author]["last_authored_at"] == after[author]["visible_last_authored_at"] == when
    assert [await unread_count(conn, user) for user in (school.teacher, archived, muted, silent)] == [1, 1, 0, 1]
    assert [body for _, body in await messages_of(conn, conversation, silent)] == ["Reply"]


async def test_an_author_who_deleted_the_conversation_still_finds_it(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    student = school.students[0]
    conversation = await threads.private(school.teacher, student)
    await threads.delete(conversation, student)

    shown = await reply(student, conversation, scope="sent")

    assert (shown["message_count"], shown["last_message_at"], shown["visible"]) == (1, None, True)
    assert await messages_of(conn, conversation, student) == [(shown["messages"][0]["id"], "Reply")]


async def test_a_monologue_goes_on(reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection) -> None:
    conversation = await threads.private(school.teacher, school.teacher)

    shown = await reply(school.teacher, conversation, recipients=[str(school.teacher)])

    assert (shown["audience"], shown["message_count"], shown["workflow_state"]) == ([], 2, "read")
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher]
    assert await unread_count(conn, school.teacher) == 0


async def test_what_a_message_may_carry(
    reply: Reply, threads: Threads, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    student = school.students[0]
    conversation = await threads.group(school.teacher, [student])
    source = await threads.private(school.students[1], school.teacher, "Forward me")
    file = await institution.attachment(school.teacher)

    shown = await reply(
        school.teacher,
        conversation,
        attachment_ids=f"{file},999999",
        forwarded_message_ids=[source],
        media_comment_id="m-1",
        media_comment_type="audio",
        user_note=True,
    )

    (message,) = shown["messages"]
    assert [a["id"] for a in message["attachments"]] == [file]
    assert [m["body"] for m in message["forwarded_messages"]] == ["Forward me"]
    assert message["media_comment"]["media_id"] == "m-1"
    assert shown["properties"] == ["last_author", "attachments", "media_objects"]
    assert school.students[1] not in [p["id"] for p in shown["participants"]]
    row = (await participant_rows(conn, conversation))[student]
    assert (row["has_attachments"], row["has_media_objects"]) == (True, True)
    assert [r["user_id"] for r in await conn.fetch("SELECT user_id FROM journal_entries")] == [student]


async def test_forwarding_from_elsewhere_is_refused(reply: Reply, threads: Threads, school: School) -> None:
    conversation = await threads.group(school.teacher, school.students[:1])
    foreign = await threads.private(school.students[1], school.students[2])
    answer = await reply(school.teacher, conversation, 400, forwarded_message_ids=[foreign])
    assert answer[0]["attribute"] == "forwarded_message_ids"


async def test_a_body_that_cannot_be_stored(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:1])
    answer = await reply(school.teacher, conversation, 422, body="b" * 65_536)
    assert answer == {"errors": [{"message": "too long", "field": "body", "error_code": "too_long"}]}
    assert await conn.fetchval("SELECT count(*) FROM messages") == 0


async def test_tags_of_a_reply(
    reply: Reply, threads: Threads, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    """Named tags need two who share them; an untagged conversation falls back on what most share."""
    student, outsider = school.students[0], await institution.user()
    other = await institution.course()
    await institution.enroll(other, school.teacher, "Teacher")
    code = f"course_{school.course}"
    conversation = await threads.group(school.teacher, [student, outsider])

    await reply(school.teacher, conversation, tags=[f"course_{other}"])
    assert {user: row["codes"] for user, row in (await participant_rows(conn, conversation)).items()} == {
        school.teacher: [code],
        student: [code],
        outsider: [],
    }

    await institution.enroll(other, student)
    await reply(school.teacher, conversation, tags=[f"course_{other}"], recipients=[str(outsider)])
    after = await participant_rows(conn, conversation)
    assert after[student]["codes"] == [code]
    assert after[school.teacher]["codes"] == [code, f"course_{other}"]
    assert await conn.fetchval(
        "SELECT codes FROM conversations c JOIN tag_sets t ON t.id = c.tag_set WHERE c.id = $1", conversation
    ) == [code, f"course_{other}"]
    assert await conn.fetchval("SELECT bool_or(tag_set <> 0) FROM messages") is False


async def test_the_context_of_a_reply_is_one_of_its_tags(
    reply: Reply, threads: Threads, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    student, other = school.students[0], await institution.course()
    await institution.enroll(other, school.teacher, "Teacher")
    await institution.enroll(other, student)
    conversation = await threads.group(school.teacher, [student], tags=[f"course_{school.course}"])

    await reply(school.teacher, conversation, context_code=f"course_{other}")

    for row in (await participant_rows(conn, conversation)).values():
        assert row["codes"] == [f"course_{school.course}", f"course_{other}"]


async def test_a_private_message_carries_its_tags(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.private(school.teacher, school.students[0])
    await reply(school.teacher, conversation)
    assert await conn.fetchval("SELECT codes FROM messages m JOIN tag_sets t ON t.id = m.tag_set") == [
        f"course_{school.course}"
    ]
