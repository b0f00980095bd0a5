"""POST /api/v1/conversations/:id/add_message (canvas/endpoints.md 4.9): answers, checks and their order."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, FormData

from service.runtime.settings import Settings
from sql.inbox import unread_count
from tests.institution import Institution
from tests.rows import messages_of, rows
from tests.school import School
from tests.thread import Threads

Token = Callable[..., Awaitable[dict[str, str]]]
Reply = Callable[..., Awaitable[Any]]

KEYS = {
    "id", "subject", "workflow_state", "last_message", "last_message_at", "last_authored_message",
    "last_authored_message_at", "message_count", "subscribed", "private", "starred", "properties", "audience",
    "audience_contexts", "avatar_url", "participants", "visible", "context_code", "messages",
}  # fmt: skip
MESSAGE_KEYS = {
    "id", "created_at", "body", "author_id", "generated", "media_comment", "forwarded_messages", "attachments",
    "participating_user_ids",
}  # fmt: skip
NOT_FOUND = {"errors": [{"message": "The specified resource does not exist."}]}
FORBIDDEN = {"status": "unauthorized", "errors": [{"message": "user not authorized to perform that action"}]}


@pytest.fixture
def edge_settings(settings: Settings) -> Settings:
    """Groups of three and their founder; replies are queued from six participants on."""
    return settings.model_copy(update={"max_group_conversation_size": 5, "queued_reply_participants": 6})


@pytest.fixture
def reply(client: ClientSession, token: Token) -> Reply:
    """Posts as a user and returns the body of the answer, whose status is checked."""

    async def post(user: int, conversation: int | str, status: int = 200, **parts: Any) -> Any:
        path = f"/api/v1/conversations/{conversation}/add_message"
        async with client.post(path, headers=await token(user), json={"body": "Reply", **parts}) as response:
            assert response.status == status, await response.text()
            return await response.json()

    return post


def refused(attribute: str, message: str) -> list[dict[str, str]]:
    """Shape A of endpoints.md 2.1."""
    return [{"attribute": attribute, "message": message}]


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
    before = await rows(conn, conversation)

    at = (await reply(author, conversation))["messages"][0]["id"]

    after = await rows(conn, conversation)
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


async def test_recipients_limit_it_and_leave_the_authors_times_behind(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection, institution: Institution
) -> None:
    """The known quirk: the row updates are limited to the list, which does not have the author."""
    meant, other = school.students[:2]
    file = await institution.attachment(school.teacher)
    conversation = await threads.group(school.teacher, [meant, other], tags=[f"course_{school.course}"])
    before = await rows(conn, conversation)

    shown = await reply(school.teacher, conversation, recipients=[str(meant)], attachment_ids=[file])

    after = await rows(conn, conversation)
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher, meant]
    assert shown["message_count"] == 2
    assert after[other] == before[other]
    assert (after[meant]["message_count"], after[meant]["has_attachments"]) == (2, True)
    changed = {key for key in after[school.teacher] if after[school.teacher][key] != before[school.teacher][key]}
    assert changed == {"message_count", "touched_at"}
    assert await conn.fetchval("SELECT has_attachments FROM conversations WHERE id = $1", conversation) is True


async def test_recipients_are_everybody(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """Who names all others has limited nothing, but the author's times stay behind all the same."""
    conversation = await threads.group(school.teacher, school.students[:2])
    before = await rows(conn, conversation)

    await reply(school.teacher, conversation, recipients=[str(s) for s in school.students[:2]])

    after = await rows(conn, conversation)
    assert after[school.teacher]["last_authored_at"] == before[school.teacher]["last_authored_at"]
    assert await conn.fetchval("SELECT count(*) FROM message_views") == 0


async def test_only_oneself_as_recipient(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    before = await rows(conn, conversation)

    shown = await reply(school.teacher, conversation, recipients=[str(school.teacher)])

    assert shown["messages"][0]["participating_user_ids"] == [school.teacher]
    after = await rows(conn, conversation)
    assert all(after[student] == before[student] for student in school.students[:2])
    assert after[school.teacher]["last_authored_at"] > before[school.teacher]["last_authored_at"]


@pytest.mark.parametrize("blank", [[], "", [""], None, {"0": "1"}])
async def test_blank_recipients_limit_nothing(reply: Reply, threads: Threads, school: School, blank: Any) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    shown = await reply(school.teacher, conversation, recipients=blank)
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher, *school.students[:2]]


async def test_recipients_whom_one_may_not_write_to_are_dropped(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    """Then nobody is left but the author, and the message is not made one for everybody."""
    stranger = await institution.user()
    conversation = await threads.group(school.teacher, school.students[:2])
    shown = await reply(school.teacher, conversation, recipients=[str(stranger), "nonsense"])
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher]


async def test_participants_are_always_acceptable(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    stranger = await institution.user()
    conversation = await threads.group(school.teacher, [stranger, school.students[0]])
    shown = await reply(school.teacher, conversation, recipients=[stranger])
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher, stranger]


async def test_new_recipients_join_a_group_without_history(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    old, new = school.students[:2]
    conversation = await threads.group(school.teacher, [old], tags=[f"course_{school.course}"], attachments=[1])

    shown = await reply(school.teacher, conversation, recipients=[str(new)])

    (message,) = shown["messages"]
    assert sorted(shown["audience"]) == [old, new]
    assert message["participating_user_ids"] == [school.teacher, new]
    joined = (await rows(conn, conversation))[new]
    expected = {"message_count": 1, "unread": True, "archived": False, "subscribed": True, "starred": False}
    assert {key: joined[key] for key in expected} == expected
    assert joined["last_message_at"] == joined["history_from"]
    assert joined["has_attachments"] is True
    assert joined["codes"] == [f"course_{school.course}"]
    assert await unread_count(conn, new) == 1
    assert await messages_of(conn, conversation, new) == [(message["id"], "Reply")]
    await reply(old, conversation, body="To all")
    assert [body for _, body in await messages_of(conn, conversation, new)] == ["Reply", "To all"]
    assert [body for _, body in await messages_of(conn, conversation, old)] == ["Hello, all", "To all"]


async def test_contexts_as_recipients_expand(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    colleague = await institution.user()
    await institution.enroll(school.course, colleague, "Ta")
    conversation = await threads.group(school.teacher, school.students[:1])
    shown = await reply(school.students[0], conversation, recipients=f"course_{school.course}_admins")
    assert shown["messages"][0]["participating_user_ids"] == sorted([school.teacher, school.students[0], colleague])


async def test_nobody_joins_a_private_conversation(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    peer, stranger = school.students[:2]
    conversation = await threads.private(school.teacher, peer)

    shown = await reply(school.teacher, conversation, recipients=[str(peer), str(stranger)])
    alone = await reply(school.teacher, conversation, recipients=[str(stranger)], body="Nobody")

    assert (shown["audience"], shown["private"]) == ([peer], True)
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher, peer]
    assert alone["messages"][0]["participating_user_ids"] == [school.teacher]
    assert (await rows(conn, conversation))[peer]["message_count"] == 2


async def test_included_messages_go_to_those_who_lack_them(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    has, deleted, never, new = school.students[:4]
    conversation = await threads.group(school.teacher, [has, deleted, never])
    secret = await threads.reply(conversation, school.teacher, "Secret", only=[has], attachments=[1])
    await threads.delete_message(conversation, conversation, deleted)
    await threads.update(conversation, deleted, message_count=0)

    await reply(
        school.teacher,
        conversation,
        recipients=[str(user) for user in (has, deleted, never, new)],
        included_messages=[str(conversation), str(secret)],
    )

    after = await rows(conn, conversation)
    assert {user: after[user]["message_count"] for user in (has, deleted, never, new)} == {
        has: 3,
        deleted: 3,
        never: 3,
        new: 3,
    }
    for user in (has, deleted, never, new):
        assert [body for _, body in await messages_of(conn, conversation, user)] == ["Hello, all", "Secret", "Reply"]
        assert after[user]["has_attachments"] is (user != has)


async def test_without_recipients_everybody_lacking_it_gets_an_included_message(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    secret = await threads.reply(conversation, school.students[0], "Secret", only=[])
    generated = await threads.added(conversation, school.teacher, school.students[:1])

    await reply(school.students[0], conversation, included_messages=[secret, generated])

    after = await rows(conn, conversation)
    assert {user: row["message_count"] for user, row in after.items()} == dict.fromkeys(
        (school.teacher, *school.students[:2]), 3
    )


async def test_included_messages_are_checked_last(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    elsewhere = await threads.group(school.teacher, school.students[:2])
    secret = await threads.reply(conversation, school.teacher, only=[school.students[0]])
    student = school.students[1]
    foreign = refused("included_messages", "not for this conversation")
    written = await conn.fetchval("SELECT count(*) FROM sends")

    for wrong in ([elsewhere, secret], f"{conversation},{secret}", ["x"], [10**30]):
        assert await reply(student, conversation, 400, included_messages=wrong) == foreign
    unseen = await reply(student, conversation, 400, included_messages=[secret])
    assert unseen == refused("included_messages", "not a participant")
    assert await conn.fetchval("SELECT count(*) FROM sends") == written
    await threads.delete_message(conversation, conversation, student)
    await reply(student, conversation, included_messages=[conversation])
    assert [body for _, body in await messages_of(conn, conversation, student)] == ["Hello, all", "Reply"]


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
    row = (await rows(conn, conversation))[student]
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
    assert {user: row["codes"] for user, row in (await rows(conn, conversation)).items()} == {
        school.teacher: [code],
        student: [code],
        outsider: [],
    }

    await institution.enroll(other, student)
    await reply(school.teacher, conversation, tags=[f"course_{other}"], recipients=[str(outsider)])
    after = await rows(conn, conversation)
    assert after[student]["codes"] == [code]
    assert after[school.teacher]["codes"] == [code, f"course_{other}"]
    assert await conn.fetchval(
        "SELECT codes FROM conversations c JOIN tag_sets t ON t.id = c.tag_set WHERE c.id = $1", conversation
    ) == [code, f"course_{other}"]
    assert await conn.fetchval("SELECT bool_or(tag_set <> 0) FROM messages") is False


async def test_a_private_message_carries_its_tags(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.private(school.teacher, school.students[0])
    await reply(school.teacher, conversation)
    assert await conn.fetchval("SELECT codes FROM messages m JOIN tag_sets t ON t.id = m.tag_set") == [
        f"course_{school.course}"
    ]


async def test_who_does_not_take_part_finds_nothing(reply: Reply, threads: Threads, school: School) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    for missing in (conversation, conversation + 1000, "x", "9" * 19):
        assert await reply(school.students[2], missing, 404, body="") == NOT_FOUND


async def test_a_bad_filter_mode_is_told_before_that(reply: Reply, school: School) -> None:
    answer = await reply(school.teacher, 1, 400, filter_mode="xor")
    assert answer == refused("filter_mode", "invalid")


async def test_a_locked_conversation_is_refused_before_anything_else(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    student = school.students[0]
    conversation = await threads.group(school.teacher, [student], context=("Course", school.course))
    await institution.override("send_messages", "StudentEnrollment", False, course=school.course)

    assert await reply(student, conversation, 403, body="") == FORBIDDEN
    assert await reply(student, conversation, recipients=[school.teacher])


async def test_a_concluded_course_is_locked_for_its_teacher_too(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:1], context=("Course", school.course))
    await conn.execute("UPDATE courses SET workflow_state = 'completed'")
    assert await reply(school.teacher, conversation, 403) == FORBIDDEN


@pytest.mark.parametrize("body", ["", " \n\t", None])
async def test_a_blank_body_comes_before_the_recipients(
    reply: Reply, threads: Threads, school: School, body: str | None
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    crowd = [str(student) for student in school.students[:10]]
    answer = await reply(school.teacher, conversation, 400, body=body, recipients=crowd)
    assert answer == refused("empty_message", "Unable to create message without a body")


async def test_too_many_participants(reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection) -> None:
    """Five and the author here; people who are in already do not count twice, and a private thread never grows."""
    conversation = await threads.group(school.teacher, school.students[:2])
    crowd = [str(student) for student in school.students[:6]]

    answer = await reply(school.teacher, conversation, 400, recipients=crowd, included_messages=["x"])

    assert answer == refused("recipients", "Too many participants for group conversation")
    assert len(await rows(conn, conversation)) == 3
    await reply(school.teacher, conversation, recipients=crowd[:5])
    assert len(await rows(conn, conversation)) == 6
    private = await threads.private(school.teacher, school.students[0])
    await reply(school.teacher, private, recipients=crowd)


async def test_a_larger_group_goes_on_without_newcomers(reply: Reply, threads: Threads, school: School) -> None:
    conversation = await threads.group(school.teacher, school.students[:8])
    await reply(school.teacher, conversation, 202, recipients=[school.students[0]])
    await reply(school.teacher, conversation, 400, recipients=[school.students[9]])


async def test_a_student_writes_to_nobody_who_left_the_course(
    reply: Reply, threads: Threads, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    student, mate = school.students[:2]
    outsider = await institution.user("Cleo", short_name="Cleo")
    conversation = await threads.group(school.teacher, [student, mate, outsider], context=("Course", school.course))

    answer = await reply(student, conversation, 401, recipients=[mate, outsider], included_messages=["x"])

    (error,) = answer
    assert error["attribute"] == "recipients"
    assert "Cleo" in error["message"]
    assert f"U{mate}" not in error["message"]
    assert await conn.fetchval("SELECT count(*) FROM messages") == 0
    await reply(student, conversation, recipients=[mate])
    await reply(student, conversation)
    await reply(school.teacher, conversation, recipients=[outsider])


async def test_a_differentiation_tag_cannot_join_a_group(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    tag = await institution.group(course=school.course, members=school.students[2:4], tag=True)
    conversation = await threads.group(school.teacher, school.students[:1])
    answer = await reply(school.teacher, conversation, 400, recipients=[f"differentiation_tag_{tag}"])
    assert answer[0]["attribute"] == "recipients"


async def test_an_unknown_context_code_is_not_found(reply: Reply, threads: Threads, school: School) -> None:
    conversation = await threads.group(school.teacher, school.students[:1])
    unknown = {"recipients": [school.students[0]], "context_code": "course_987654"}
    assert await reply(school.teacher, conversation, 404, **unknown) == NOT_FOUND


async def test_a_reply_to_many_is_accepted_with_a_placeholder(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:5])
    before = await rows(conn, conversation)

    shown = await reply(school.teacher, conversation, 202, body="Later")

    assert shown.keys() == KEYS
    assert (shown["id"], shown["message_count"]) == (conversation, 1)
    (message,) = shown["messages"]
    assert message.keys() == MESSAGE_KEYS
    expected = {"id": 0, "body": "Later", "author_id": school.teacher, "participating_user_ids": []}
    assert {key: message[key] for key in expected} == expected
    assert await rows(conn, conversation) == before
    assert await conn.fetchval("SELECT count(*) FROM messages") == 0
    queued = await conn.fetchrow("SELECT * FROM pending_replies")
    assert queued is not None
    assert (queued["conversation_id"], queued["recipients"]) == (conversation, None)


async def test_one_below_is_written_at_once(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:4])
    await reply(school.teacher, conversation)
    assert await conn.fetchval("SELECT count(*) FROM pending_replies") == 0


async def test_queued_replies_are_checked_at_once(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:5])
    answer = await reply(school.teacher, conversation, 400, body="")
    assert answer == refused("empty_message", "Unable to create message without a body")
    answer = await reply(school.teacher, conversation, 400, recipients=[school.students[5]])
    assert answer == refused("recipients", "Too many participants for group conversation")
    assert await conn.fetchval("SELECT count(*) FROM pending_replies") == 0
