"""POST /api/v1/conversations/:id/add_recipients (canvas/endpoints.md 4.8)."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from service.runtime.settings import Settings
from sql.inbox import unread_count
from tests.support.conversations import START, Threads
from tests.support.institution import Institution
from tests.support.participants import messages_of, participant_rows
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]
Add = Callable[..., Awaitable[Any]]

KEYS = {
    "id", "subject", "workflow_state", "last_message", "last_message_at", "last_authored_message",
    "last_authored_message_at", "message_count", "subscribed", "private", "starred", "properties", "audience",
    "audience_contexts", "avatar_url", "participants", "visible", "context_code", "messages",
}  # fmt: skip


@pytest.fixture
def edge_settings(settings: Settings) -> Settings:
    """Groups of five and their founder."""
    return settings.model_copy(update={"max_group_conversation_size": 5})


@pytest.fixture
def add(client: ClientSession, token: Token) -> Add:
    """Posts as a user and returns the body of the answer, whose status is checked."""

    async def post(
        user: int, conversation: int, recipients: Any, status: int = 200, action: str = "add_recipients", **parts: Any
    ) -> Any:
        path = f"/api/v1/conversations/{conversation}/{action}"
        body = {"recipients": recipients, **parts}
        async with client.post(path, headers=await token(user), json=body) as response:
            assert response.status == status, await response.text()
            return await response.json()

    return post


async def test_the_answer_shows_the_generated_message(add: Add, threads: Threads, school: School) -> None:
    old, *new = school.students[:3]
    conversation = await threads.group(school.teacher, [old], tags=[f"course_{school.course}"])

    shown = await add(school.teacher, conversation, [str(user) for user in new], scope="sent", include=["uuid"])

    assert shown.keys() == KEYS
    (message,) = shown["messages"]
    assert message["generated"] is True
    assert message["author_id"] == school.teacher
    assert message["body"] == f"U{new[0]} and U{new[1]} were added to the conversation by Teacher"
    assert (message["attachments"], message["forwarded_messages"]) == ([], [])
    assert sorted(message["participating_user_ids"]) == [school.teacher, old, *new]
    assert sorted(shown["audience"]) == [old, *new]
    assert (shown["last_authored_message"], shown["message_count"]) == ("Hello, all", 1)
    assert shown["visible"] is True
    assert all({"uuid", "avatar_url", "common_courses"} <= p.keys() for p in shown["participants"])


@pytest.mark.parametrize("named_by", ["course", "group", "section"])
async def test_a_concluded_course_as_context_is_refused_like_anywhere(
    *, add: Add, threads: Threads, school: School, institution: Institution, named_by: str
) -> None:
    """CONTRACT 6.15: before it is asked whom the context has; without it people are added as ever."""
    over = await institution.course(state="completed")
    old, new = school.students[:2]
    group = await institution.group(course=over, members=[school.teacher, new])
    await institution.enroll(over, school.teacher, "Teacher")
    await institution.enroll(over, new)
    place = {"course": over, "group": group, "section": await institution.section(over)}[named_by]
    conversation = await threads.group(school.teacher, [old])

    for recipients in ([str(new)], ["nonsense"]):
        refused = await add(school.teacher, conversation, recipients, 400, context_code=f"{named_by}_{place}")
        assert refused == [{"attribute": "Course concluded", "message": "Unable to send messages"}]
    assert (await add(school.teacher, conversation, [str(new)]))["audience"] == [old, new]


async def test_who_was_in_already_is_left_as_they_were(
    add: Add, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    read, archived, muted, gone, new = school.students[:5]
    old = [read, archived, muted, gone]
    conversation = await threads.group(school.teacher, old, tags=[f"course_{school.course}"])
    await threads.update(conversation, read, unread=False)
    await threads.update(conversation, archived, unread=False, archived=True)
    await threads.update(conversation, muted, unread=False, subscribed=False)
    await threads.delete(conversation, gone)
    before = await participant_rows(conn, conversation)

    await add(school.teacher, conversation, [str(new)])

    after = await participant_rows(conn, conversation)
    tags = {"tag_set", "codes"}
    for user in (school.teacher, *old):
        assert {k: v for k, v in after[user].items() if k not in tags} == {
            k: v for k, v in before[user].items() if k not in tags
        }


async def test_newcomers_have_the_adders_history(
    add: Add, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """Restricted messages that the adder has and those the adder deleted among them, and no others."""
    adder, other, new = school.students[:3]
    conversation = await threads.group(school.teacher, [adder, other], "First")
    await threads.reply(conversation, other, "To the adder", only=[adder])
    await threads.reply(conversation, other, "To the teacher", only=[school.teacher])
    deleted = await threads.reply(conversation, other, "Deleted by the adder", attachments=[1])
    await threads.delete_message(conversation, deleted, adder)
    await threads.delete_message(conversation, conversation, adder)
    await conn.execute("UPDATE conversations SET has_attachments = true")
    newest = await conn.fetchval(
        "SELECT s.created_at FROM messages m JOIN sends s ON s.id = m.send_id WHERE m.id = $1", deleted
    )

    await add(adder, conversation, [str(new)])

    assert [body for _, body in await messages_of(conn, conversation, new)] == [
        "First",
        "To the adder",
        "Deleted by the adder",
        "",
    ]
    joined = (await participant_rows(conn, conversation))[new]
    expected = {
        "message_count": 4,
        "unread": True,
        "archived": False,
        "subscribed": True,
        "starred": False,
        "last_message_at": newest,
        "last_authored_at": None,
        "has_attachments": True,
        "has_media_objects": False,
    }
    assert {key: joined[key] for key in expected} == expected
    assert await unread_count(conn, new) == 1
    assert [body for _, body in await messages_of(conn, conversation, adder)] == ["To the adder", ""]


async def test_an_adder_who_joined_later_hands_on_no_more_than_they_have(
    add: Add, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    late, later = school.students[1:3]
    conversation = await threads.group(school.teacher, school.students[:1], "First")
    kept = await threads.reply(conversation, school.teacher, "Kept")
    await add(school.teacher, conversation, [late], action="add_message", body="Welcome", included_messages=[kept])
    await threads.delete_message(conversation, kept, late)

    await add(late, conversation, [str(later)])

    assert [body for _, body in await messages_of(conn, conversation, later)] == ["Kept", "Welcome", ""]
    assert (await participant_rows(conn, conversation))[later]["message_count"] == 3


async def test_what_says_who_was_added_before_is_not_counted_for_those_who_come_later(
    add: Add, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    old, new, later = school.students[:3]
    conversation = await threads.group(school.teacher, [old])
    await add(school.teacher, conversation, [str(new)])

    await add(school.teacher, conversation, [str(later)])

    rows = await participant_rows(conn, conversation)
    assert [(rows[user]["message_count"], rows[user]["last_message_at"]) for user in (new, later)] == [(1, START)] * 2


async def test_everybody_is_in_already(add: Add, threads: Threads, school: School, conn: asyncpg.Connection) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    before = await participant_rows(conn, conversation)

    shown = await add(school.teacher, conversation, [str(student) for student in school.students[:2]])
    alone = await add(school.teacher, conversation, [str(school.teacher)])

    assert [m["body"] for m in shown["messages"]] == [m["body"] for m in alone["messages"]] == ["Hello, all"]
    assert await participant_rows(conn, conversation) == before
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1


async def test_authors_of_what_the_newest_message_forwards_are_not_among_the_people(
    add: Add, threads: Threads, school: School
) -> None:
    """Other than where a conversation is shown or created (endpoints.md 3.4)."""
    first, second, author = school.students[:3]
    source = await threads.private(author, school.teacher, "Original")
    conversation = await threads.group(school.teacher, [first, second], forwards=[source])

    shown = await add(school.teacher, conversation, [first])

    assert [m["body"] for m in shown["messages"][0]["forwarded_messages"]] == ["Original"]
    assert sorted(p["id"] for p in shown["participants"]) == [school.teacher, first, second]


async def test_a_second_call_adds_nothing_more(
    add: Add, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:1])
    first = await add(school.teacher, conversation, f"{school.students[1]}")
    again = await add(school.teacher, conversation, f"{school.students[1]}")
    assert first["messages"] == again["messages"]
    assert await conn.fetchval("SELECT count(*) FROM messages") == 1


@pytest.mark.parametrize("recipients", [[], "", None, ["nonsense"], ["user"], ["999999"]])
async def test_no_recipients_to_add(
    add: Add, threads: Threads, school: School, recipients: Any, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    assert await add(school.teacher, conversation, recipients, 400) == {}
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1


async def test_only_people_one_may_write_to(
    add: Add, threads: Threads, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    outsider = await institution.user()
    conversation = await threads.group(school.teacher, school.students[:1])
    assert await add(school.teacher, conversation, [str(outsider)], 400) == {}
    await add(school.teacher, conversation, [str(outsider), school.students[1]])
    assert set(await participant_rows(conn, conversation)) == {school.teacher, *school.students[:2]}


async def test_a_context_code_narrows_individuals(
    add: Add, threads: Threads, school: School, institution: Institution
) -> None:
    other = await institution.course()
    await institution.enroll(other, school.teacher, "Teacher")
    conversation = await threads.group(school.teacher, school.students[:1])
    assert await add(school.teacher, conversation, [school.students[1]], 400, context_code=f"course_{other}") == {}
    await add(school.teacher, conversation, [school.students[1]], context_code=f"course_{school.course}")
    await add(school.teacher, conversation, [school.students[2]], 404, context_code="course_987654")


async def test_too_many_participants(add: Add, threads: Threads, school: School, conn: asyncpg.Connection) -> None:
    conversation = await threads.group(school.teacher, school.students[:3])
    answer = await add(school.teacher, conversation, school.students[2:6], 400)
    assert answer == [{"attribute": "recipients", "message": "too many participants for group conversation"}]
    assert len(await participant_rows(conn, conversation)) == 4
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1
    await add(school.teacher, conversation, school.students[2:5])
    await add(school.teacher, conversation, school.students[:5])
    assert len(await participant_rows(conn, conversation)) == 6


async def test_a_private_conversation_takes_no_new_people(
    add: Add, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.private(school.teacher, school.students[0])
    answer = await add(school.teacher, conversation, [school.students[1]], 400)
    assert answer == [{"attribute": "recipients", "message": "nobody can be added to a private conversation"}]
    assert len(await participant_rows(conn, conversation)) == 2
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1


async def test_a_conversation_that_the_caller_does_not_have_is_404(add: Add, threads: Threads, school: School) -> None:
    """A deleted one counts as gone, and that is refused before a bad filter_mode."""
    conversation = await threads.group(school.teacher, school.students[:2])
    await threads.delete(conversation, school.students[0])
    for user in school.students[0], school.students[3]:
        answer = await add(user, conversation, [school.students[4]], 404, filter_mode="xor")
        assert answer == {"errors": [{"message": "The specified resource does not exist."}]}
    answer = await add(school.teacher, conversation, [], 400, filter_mode="xor")
    assert answer == [{"attribute": "filter_mode", "message": "invalid"}]


async def test_the_generated_message_files_rows_anew(
    add: Add, threads: Threads, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    """The given tags that one holds, else what most share and one holds, whatever the conversation has."""
    old, new, guest = *school.students[:2], await institution.user()
    other = await institution.course()
    await institution.enroll(other, [school.teacher, guest, old], "Teacher")
    conversation = await threads.group(school.teacher, [old], tags=[f"course_{other}"])

    await add(school.teacher, conversation, [str(new), str(guest)], tags=[f"course_{school.course}"])

    codes = {user: row["codes"] for user, row in (await participant_rows(conn, conversation)).items()}
    assert codes[new] == [f"course_{school.course}"]
    assert codes[guest] == [f"course_{other}"]
    assert codes[old] == [f"course_{other}", f"course_{school.course}"]
    assert await conn.fetchval("SELECT codes FROM conversations c JOIN tag_sets t ON t.id = c.tag_set") == [
        f"course_{other}",
        f"course_{school.course}",
    ]


async def test_later_messages_reach_newcomers_too(
    add: Add, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    new = school.students[1]
    conversation = await threads.group(school.teacher, school.students[:1])
    await add(school.teacher, conversation, [new])
    await threads.reply(conversation, school.students[0], "Later")
    assert "Later" in [body for _, body in await messages_of(conn, conversation, new)]
