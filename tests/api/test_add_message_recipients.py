"""Named recipients and included messages of a reply (canvas/endpoints.md 4.9)."""

from typing import Any

import asyncpg
import pytest

from sql.inbox import unread_count
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.participants import messages_of, participant_rows
from tests.support.replies import Reply, refused
from tests.support.school import School


async def test_recipients_limit_it_and_leave_the_authors_times_behind(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection, institution: Institution
) -> None:
    """The known quirk: the row updates are limited to the list, which does not have the author."""
    meant, other = school.students[:2]
    file = await institution.attachment(school.teacher)
    conversation = await threads.group(school.teacher, [meant, other], tags=[f"course_{school.course}"])
    before = await participant_rows(conn, conversation)

    shown = await reply(school.teacher, conversation, recipients=[str(meant)], attachment_ids=[file])

    after = await participant_rows(conn, conversation)
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
    before = await participant_rows(conn, conversation)

    await reply(school.teacher, conversation, recipients=[str(s) for s in school.students[:2]])

    after = await participant_rows(conn, conversation)
    assert after[school.teacher]["last_authored_at"] == before[school.teacher]["last_authored_at"]
    assert await conn.fetchval("SELECT count(*) FROM message_views") == 0


async def test_only_oneself_as_recipient(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    before = await participant_rows(conn, conversation)

    shown = await reply(school.teacher, conversation, recipients=[str(school.teacher)])

    assert shown["messages"][0]["participating_user_ids"] == [school.teacher]
    after = await participant_rows(conn, conversation)
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
    """Then the author alone is left, and the message is not made one for everybody."""
    outsider = await institution.user()
    conversation = await threads.group(school.teacher, school.students[:2])
    shown = await reply(school.teacher, conversation, recipients=[str(outsider), "nonsense"])
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher]


async def test_participants_are_always_acceptable(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    outsider = await institution.user()
    conversation = await threads.group(school.teacher, [outsider, school.students[0]])
    shown = await reply(school.teacher, conversation, recipients=[outsider])
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher, outsider]


async def test_new_recipients_join_a_group_without_history(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    old, new = school.students[:2]
    conversation = await threads.group(school.teacher, [old], tags=[f"course_{school.course}"], attachments=[1])

    shown = await reply(school.teacher, conversation, recipients=[str(new)])

    (message,) = shown["messages"]
    assert sorted(shown["audience"]) == [old, new]
    assert message["participating_user_ids"] == [school.teacher, new]
    joined = (await participant_rows(conn, conversation))[new]
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


async def test_a_private_conversation_takes_no_new_people(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    peer, outsider = school.students[:2]
    conversation = await threads.private(school.teacher, peer)

    shown = await reply(school.teacher, conversation, recipients=[str(peer), str(outsider)])
    alone = await reply(school.teacher, conversation, recipients=[str(outsider)], body="Alone")

    assert (shown["audience"], shown["private"]) == ([peer], True)
    assert shown["messages"][0]["participating_user_ids"] == [school.teacher, peer]
    assert alone["messages"][0]["participating_user_ids"] == [school.teacher]
    assert (await participant_rows(conn, conversation))[peer]["message_count"] == 2


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

    after = await participant_rows(conn, conversation)
    assert {user: after[user]["message_count"] for user in (has, deleted, never, new)} == {
        has: 3,
        deleted: 3,
        never: 3,
        new: 3,
    }
    for user in (has, deleted, never, new):
        assert [body for _, body in await messages_of(conn, conversation, user)] == ["Hello, all", "Secret", "Reply"]
        assert after[user]["has_attachments"] is (user != has)


async def test_a_generated_message_that_is_given_again_does_not_count(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """As little as when it was new (semantics.md 7.5)."""
    there, new = school.students[:2]
    conversation = await threads.group(school.teacher, [there])
    generated = await threads.added(conversation, school.teacher, [there])

    await reply(school.teacher, conversation, recipients=[str(new)], included_messages=[str(generated)])

    given = await conn.fetch("SELECT id FROM participant_messages WHERE user_id = $1 AND generated", new)
    assert [row["id"] for row in given] == [generated]
    assert (await participant_rows(conn, conversation))[new]["message_count"] == 1


async def test_without_recipients_everybody_lacking_it_gets_an_included_message(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    secret = await threads.reply(conversation, school.students[0], "Secret", only=[])
    generated = await threads.added(conversation, school.teacher, school.students[:1])

    await reply(school.students[0], conversation, included_messages=[secret, generated])

    after = await participant_rows(conn, conversation)
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

    for wrong in ([elsewhere, secret], f"{conversation},{secret}", ["x"], [10**30], ["9" * 19]):
        assert await reply(student, conversation, 400, included_messages=wrong) == foreign
    unseen = await reply(student, conversation, 400, included_messages=[secret])
    assert unseen == refused("included_messages", "not a participant")
    assert await conn.fetchval("SELECT count(*) FROM sends") == written
    await threads.delete_message(conversation, conversation, student)
    await reply(student, conversation, included_messages=[conversation])
    assert [body for _, body in await messages_of(conn, conversation, student)] == ["Hello, all", "Reply"]
