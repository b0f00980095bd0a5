"""The checks of a reply and their order, and replies that are queued (canvas/endpoints.md 4.9)."""

import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.conversations import Threads
from tests.support.http_calls import NOT_AUTHORISED, NOT_FOUND
from tests.support.institution import Institution
from tests.support.participants import participant_rows
from tests.support.replies import KEYS, MESSAGE_KEYS, Reply, refused
from tests.support.school import School


@pytest.fixture
def edge_settings(settings: Settings) -> Settings:
    """Groups of three and their founder; replies are queued from six participants on."""
    return settings.model_copy(update={"max_group_conversation_size": 5, "queued_reply_participants": 6})


async def test_who_does_not_take_part_finds_nothing(reply: Reply, threads: Threads, school: School) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    for missing in (conversation, conversation + 1000, "x", "9" * 19):
        assert await reply(school.students[2], missing, 404, body="") == NOT_FOUND


async def test_a_bad_filter_mode_is_refused_before_that(reply: Reply, school: School) -> None:
    answer = await reply(school.teacher, 1, 400, filter_mode="xor")
    assert answer == refused("filter_mode", "invalid")


async def test_a_locked_conversation_is_refused_before_anything_else(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    student = school.students[0]
    conversation = await threads.group(school.teacher, [student], context=("Course", school.course))
    await institution.override("send_messages", "StudentEnrollment", False, course=school.course)

    assert await reply(student, conversation, 403, body="") == NOT_AUTHORISED
    assert await reply(student, conversation, recipients=[school.teacher])


async def test_a_concluded_course_is_locked_for_its_teacher_too(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:1], context=("Course", school.course))
    await conn.execute("UPDATE courses SET workflow_state = 'completed'")
    assert await reply(school.teacher, conversation, 403) == NOT_AUTHORISED


@pytest.mark.parametrize("named_by", ["course", "group"])
@pytest.mark.parametrize("by_name", [True, False])
async def test_a_concluded_course_is_no_context_of_a_reply_elsewhere(
    *, reply: Reply, threads: Threads, school: School, institution: Institution, named_by: str, by_name: bool
) -> None:
    """CONTRACT 6.15; after the conversation's own lock, and before the text is asked for."""
    student = school.students[0]
    over = await institution.course(state="completed")
    await institution.enroll(over, [school.teacher, student], "Teacher")
    place = over if named_by == "course" else await institution.group(course=over, members=[school.teacher, student])
    named = {"recipients": [student]} if by_name else {}
    conversation = await threads.group(school.teacher, [student])

    answer = await reply(school.teacher, conversation, 400, body="", context_code=f"{named_by}_{place}", **named)

    assert answer == refused("Course concluded", "Unable to send messages")
    assert await reply(school.teacher, conversation, context_code=f"course_{school.course}", **named)


async def test_an_administrator_replies_by_name_in_a_course_without_being_in_it(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    """The course stands in the conversation alone: it is none of the administrator's own."""
    admin = await institution.user()
    await institution.admin(admin)
    conversation = await threads.group(school.teacher, [admin], context=("Course", school.course))

    assert await reply(admin, conversation, recipients=[school.students[0]])


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
    assert len(await participant_rows(conn, conversation)) == 3
    await reply(school.teacher, conversation, recipients=crowd[:5])
    assert len(await participant_rows(conn, conversation)) == 6
    private = await threads.private(school.teacher, school.students[0])
    await reply(school.teacher, private, recipients=crowd)


async def test_a_larger_group_goes_on_without_newcomers(reply: Reply, threads: Threads, school: School) -> None:
    conversation = await threads.group(school.teacher, school.students[:8])
    await reply(school.teacher, conversation, 202, recipients=[school.students[0]])
    await reply(school.teacher, conversation, 400, recipients=[school.students[9]])


async def test_a_student_does_not_write_to_people_who_left_the_course(
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


async def test_a_student_who_administers_the_course_is_not_kept_to_it(
    reply: Reply, threads: Threads, school: School, institution: Institution
) -> None:
    student, outsider = school.students[0], await institution.user()
    await institution.admin(student)
    conversation = await threads.group(school.teacher, [student, outsider], context=("Course", school.course))
    shown = await reply(student, conversation, recipients=[outsider])
    assert shown["messages"][0]["participating_user_ids"] == [student, outsider]


async def test_only_in_a_course_that_runs_students_are_kept_to_it(
    reply: Reply, threads: Threads, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    student, outsider = school.students[0], await institution.user()
    conversation = await threads.group(school.teacher, [student, outsider], context=("Course", school.course))
    await conn.execute("UPDATE courses SET workflow_state = 'claimed'")
    shown = await reply(student, conversation, recipients=[school.teacher, outsider])
    assert shown["messages"][0]["participating_user_ids"] == sorted([school.teacher, student, outsider])


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
    before = await participant_rows(conn, conversation)

    shown = await reply(school.teacher, conversation, 202, body="Later")

    assert shown.keys() == KEYS
    assert (shown["id"], shown["message_count"]) == (conversation, 1)
    assert all({"common_courses", "common_groups", "avatar_url"} <= p.keys() for p in shown["participants"])
    (message,) = shown["messages"]
    assert message.keys() == MESSAGE_KEYS
    expected = {"id": 0, "body": "Later", "author_id": school.teacher, "participating_user_ids": []}
    assert {key: message[key] for key in expected} == expected
    assert await participant_rows(conn, conversation) == before
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
