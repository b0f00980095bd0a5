"""POST /conversations below HTTP: what a create writes, in the order Canvas checks (endpoints.md 4.2)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from service.application.messages.create import Accepted, Created, carry_out, validate
from service.application.messages.create_request import CreateConversation
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.domain.errors import Refusal
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from tests.support.institution import ROOT_ACCOUNT, Institution
from tests.support.school import School

Create = Callable[..., Awaitable[Any]]


@pytest.fixture
def create(conn: asyncpg.Connection, settings: Settings, school: School) -> Create:
    """Creates as the teacher unless said otherwise."""
    work = Work(settings, IdBlocks(), TagSets(), cause=None)

    async def run(recipients: list[Any], **more: Any) -> Any:
        asked = {"author_id": school.teacher, "body": "Hello", "recipients": recipients, **more}
        plan = await validate(work, conn, command := CreateConversation(**asked))
        async with conn.transaction():
            return await carry_out(work, conn, command, plan)

    return run


async def row(conn: asyncpg.Connection, conversation: int, user: int) -> asyncpg.Record:
    """A participant's row."""
    found = await conn.fetchrow(
        "SELECT p.*, t.codes FROM participants p JOIN tag_sets t ON t.id = p.tag_set"
        " WHERE conversation_id = $1 AND user_id = $2",
        conversation,
        user,
    )
    assert found is not None
    return found


async def test_a_new_private_thread(create: Create, conn: asyncpg.Connection, school: School) -> None:
    made = await create([str(school.students[0])], subject="Hi")
    (conversation,) = made.conversation_ids
    assert made.single is not None
    assert made.single[:2] == (conversation, conversation)
    sender = await row(conn, conversation, school.teacher)
    assert (sender["message_count"], sender["unread"], sender["last_message_at"]) == (1, False, None)
    assert sender["last_authored_at"] == sender["visible_last_authored_at"] is not None
    recipient = await row(conn, conversation, school.students[0])
    assert (recipient["message_count"], recipient["unread"]) == (1, True)
    assert recipient["last_message_at"] == sender["last_authored_at"]
    assert recipient["last_authored_at"] is None
    assert sender["codes"] == recipient["codes"] == [f"course_{school.course}"]


async def test_a_private_thread_is_reused_from_either_side(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    teacher, student = school.teacher, school.students[0]
    (first,) = (await create([str(student)])).conversation_ids
    back = await create([str(teacher)], author_id=student, subject="dropped")
    assert back.conversation_ids == [first]
    assert back.single.id != first
    assert (await row(conn, first, teacher))["unread"] is True
    assert (await row(conn, first, student))["message_count"] == 2
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 1


async def test_the_context_is_part_of_a_private_threads_identity(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    student, code = str(school.students[0]), f"course_{school.course}"
    made = [await create([student], context_code=context) for context in (None, code, None, code)]
    ids = [m.conversation_ids[0] for m in made]
    assert ids[0] == ids[2] != ids[1] == ids[3]


async def test_a_message_belongs_to_the_account_at_the_top_above_its_context(
    create: Create, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    institute = await institution.account(await institution.account(ROOT_ACCOUNT))
    course = await institution.course(account=institute)
    await institution.enroll(course, [school.teacher, school.students[0]], "Teacher")

    await create([str(school.students[0])], context_code=f"course_{course}")

    assert await conn.fetchval("SELECT root_account_ids FROM sends") == [ROOT_ACCOUNT]


async def test_a_reused_thread_wakes_who_archived_it_and_not_who_is_unsubscribed(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    student = school.students[0]
    (conversation,) = (await create([str(student)])).conversation_ids
    await conn.execute("UPDATE participants SET unread = false, archived = true WHERE user_id = $1", student)
    await create([str(student)])
    assert (await row(conn, conversation, student))["archived"] is False
    assert (await row(conn, conversation, student))["unread"] is True
    await conn.execute("UPDATE participants SET unread = false, subscribed = false WHERE user_id = $1", student)
    before = await row(conn, conversation, student)
    await create([str(student)])
    after = await row(conn, conversation, student)
    assert (after["unread"], after["last_message_at"]) == (False, before["last_message_at"])
    assert (before["touched_at"], after["touched_at"]) == (
        None,
        await conn.fetchval("SELECT max(created_at) FROM sends"),
    )
    assert after["message_count"] == before["message_count"] + 1
    await conn.execute("UPDATE participants SET archived = true WHERE user_id = $1", student)
    await create([str(student)])
    assert (await row(conn, conversation, student))["archived"] is True


async def test_the_times_of_a_reused_thread_never_go_back(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    """The clock of another host may be ahead."""
    student = school.students[0]
    (conversation,) = (await create([str(student)])).conversation_ids
    await create([str(school.teacher)], author_id=student)
    names = "last_message_at", "last_authored_at", "visible_last_authored_at"
    ahead = ", ".join(f"{name} = {name} + interval '1 hour'" for name in names)
    await conn.execute(f"UPDATE participants SET {ahead}")
    times = f"SELECT {', '.join(names)} FROM participants ORDER BY user_id"
    before = await conn.fetch(times)

    await create([str(student)])

    assert await conn.fetch(times) == before
    assert (await row(conn, conversation, student))["message_count"] == 3


async def test_what_a_reused_thread_carries_is_marked_for_what_it_is(
    create: Create, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    (conversation,) = (await create([str(school.students[0])])).conversation_ids
    marks = "SELECT has_attachments, has_media_objects FROM conversations UNION ALL"
    marks += " SELECT has_attachments, has_media_objects FROM participants"

    await create([str(school.students[0])], attachment_ids=[await institution.attachment(school.teacher)])
    assert [tuple(found) for found in await conn.fetch(marks)] == [(True, False)] * 3

    await create([str(school.students[0])], media_comment_id="m-1", media_comment_type="audio")
    assert [tuple(found) for found in await conn.fetch(marks)] == [(True, True)] * 3
    assert (await row(conn, conversation, school.teacher))["message_count"] == 3


async def test_who_deleted_everything_gets_the_thread_back(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    student = school.students[0]
    (conversation,) = (await create([str(student)])).conversation_ids
    await conn.execute(
        "UPDATE participants SET message_count = 0, last_message_at = NULL, unread = false WHERE user_id = $1", student
    )
    again = await create([str(student)])
    assert again.conversation_ids == [conversation]
    after = await row(conn, conversation, student)
    assert (after["message_count"], after["unread"]) == (1, True)
    assert after["last_message_at"] is not None


async def test_a_monologue_has_one_participant_and_is_reused(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    first = await create([str(school.teacher)])
    again = await create([str(school.teacher)])
    assert first.conversation_ids == again.conversation_ids
    rows = await conn.fetch("SELECT * FROM participants")
    assert [(r["user_id"], r["message_count"], r["unread"], r["last_message_at"]) for r in rows] == [
        (school.teacher, 2, False, None)
    ]


async def test_a_group_is_never_reused(create: Create, conn: asyncpg.Connection, school: School) -> None:
    people = [str(s) for s in school.students[:3]]
    first, second = [await create(people, group_conversation=True) for _ in range(2)]
    assert first.conversation_ids != second.conversation_ids
    (conversation,) = first.conversation_ids
    rows = await conn.fetch("SELECT user_id, unread FROM participants WHERE conversation_id = $1", conversation)
    assert {(r["user_id"], r["unread"]) for r in rows} == {
        (school.teacher, False),
        *((student, True) for student in school.students[:3]),
    }
    assert await conn.fetchval("SELECT bool_or(private) FROM sends") is False


async def test_bulk_private_and_bulk_separate(create: Create, conn: asyncpg.Connection, school: School) -> None:
    people = [str(s) for s in school.students[:3]]
    private = await create(people)
    again = await create(people)
    assert private.single is None
    assert sorted(private.conversation_ids) == sorted(again.conversation_ids)
    separate = await create(people, group_conversation=True, bulk_message=True)
    forced = await create(people[:1], force_new=True)
    assert len(set(separate.conversation_ids)) == 3
    assert len({*private.conversation_ids, *separate.conversation_ids, *forced.conversation_ids}) == 7
    states = await conn.fetch("SELECT state, total, delivered FROM batches ORDER BY id")
    assert [tuple(s) for s in states] == [("sent", 3, 3), ("sent", 3, 3), ("sent", 3, 3), ("sent", 1, 1)]


async def test_a_send_to_members_of_one_course_is_noted_as_such(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    """So that their tags need no second look."""
    course, other = f"course_{school.course}", str(school.students[0])
    bulk = {"group_conversation": True, "bulk_message": True}
    for recipients, more, expected in (
        ([f"{course}_students"], {}, school.course),
        ([course], {"context_code": course}, school.course),
        ([course, other], {"context_code": course}, None),
        ([course], {"tags": ["group_1"]}, None),
    ):
        await create(recipients, **bulk, **more)
        noted = await conn.fetchval("SELECT members_of_course FROM batches ORDER BY id DESC LIMIT 1")
        assert noted == expected, (recipients, more)


async def test_only_a_batch_can_be_asynchronous(create: Create, conn: asyncpg.Connection, school: School) -> None:
    people = [str(s) for s in school.students[:3]]
    assert isinstance(await create(people, asynchronous=True), Accepted)
    assert isinstance(await create(people, asynchronous=True, group_conversation=True), Created)
    assert isinstance(await create(people[:1], asynchronous=True), Created)
    assert await conn.fetchval("SELECT count(*) FROM batches WHERE state = 'created'") == 1


async def test_user_note_writes_the_journal_of_ones_students_only(
    create: Create, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    colleague = await institution.user("Colleague")
    await institution.enroll(school.course, colleague, "Teacher")
    await create([str(school.students[0]), str(colleague)], user_note=True)
    await create([str(school.teacher)], author_id=school.students[1], user_note=True)
    assert [r["user_id"] for r in await conn.fetch("SELECT user_id FROM journal_entries")] == [school.students[0]]


async def test_only_files_of_the_right_folder_are_sent(
    create: Create, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    mine = await institution.attachment(school.teacher)
    others = await institution.attachment(school.students[0])
    elsewhere = await institution.attachment(school.teacher, folder="unfiled")
    gone, of_a_course = [await institution.attachment(school.teacher) for _ in range(2)]
    await conn.execute("UPDATE attachments SET workflow_state = 'deleted' WHERE id = $1", gone)
    await conn.execute("UPDATE attachments SET context_type = 'Course' WHERE id = $1", of_a_course)
    named = [others, elsewhere, gone, of_a_course, mine, 987654]
    (conversation,) = (await create([str(school.students[0])], attachment_ids=named)).conversation_ids
    assert await conn.fetchval("SELECT attachment_ids FROM sends") == [mine]
    assert (await row(conn, conversation, school.students[0]))["has_attachments"] is True


async def test_forwarding_takes_messages_of_one_own_conversation(
    create: Create, conn: asyncpg.Connection, school: School
) -> None:
    first = await create([str(school.students[0])])
    second = await create([str(school.students[1])])
    foreign = await create([str(school.students[2])], author_id=school.students[1])
    forwarded = [first.single.id]
    await create([str(school.students[3])], forwarded_message_ids=forwarded)
    assert await conn.fetchval("SELECT forwarded_message_ids FROM sends ORDER BY id DESC LIMIT 1") == forwarded
    stored = await conn.fetchval("SELECT count(*) FROM sends")
    for wrong in ([first.single[1], second.single[1]], [foreign.single[1]], [999_999_999]):
        with pytest.raises(Refusal) as refused:
            await create([str(school.students[3])], forwarded_message_ids=wrong)
        assert refused.value.attribute == "forwarded_message_ids"
    assert await conn.fetchval("SELECT count(*) FROM sends") == stored


async def test_a_media_comment_needs_both_parts(create: Create, conn: asyncpg.Connection, school: School) -> None:
    student = str(school.students[0])
    await create([student], media_comment_id="m-1")
    await create([student], media_comment_id="m-1", media_comment_type="audio")
    await create([student], media_comment_id="m-1", media_comment_type="audio")
    assert [r[0] for r in await conn.fetch("SELECT media_id FROM sends ORDER BY id")] == [None, "m-1", "m-1"]
    assert [tuple(r) for r in await conn.fetch("SELECT media_id, media_type, owner_id FROM media_objects")] == [
        ("m-1", "audio", school.teacher)
    ]


@pytest.mark.parametrize(
    ("request_parts", "attribute", "message"),
    [
        ({"recipients": [], "body": ""}, "recipients", "blank"),
        ({"recipients": ["unknown"], "body": ""}, "recipients", "invalid"),
        ({"body": " \n", "display_from": "x"}, "body", "blank"),
        (
            {"display_from": "x", "context_code": "user_1"},
            "display_from",
            "only available for site admin service users",
        ),
        ({"context_code": "user_1", "as_integers": True}, "context_code", "invalid"),
        ({"as_integers": True, "subject": "s" * 256}, "recipients", "invalid"),
        ({"everybody": True, "subject": "s" * 256}, "recipients", "too many for group conversation"),
        ({"subject": "s" * 256, "body": "b" * 65_536}, "subject", "too_long"),
        ({"body": "b" * 65_536}, "body", "too_long"),
    ],
)
async def test_the_first_broken_rule_is_the_one_reported(
    create: Create, school: School, request_parts: dict[str, Any], attribute: str, message: str
) -> None:
    """Each case also breaks the rule of the case after it, so that the order shows."""
    parts = {"recipients": [str(school.students[0])], **request_parts}
    if parts.pop("as_integers", False):
        parts["recipients"] = [school.students[0]]
    if parts.pop("everybody", False):
        parts |= {"recipients": [str(s) for s in school.students[:101]], "group_conversation": True}
    with pytest.raises(Refusal) as refused:
        await create(**parts)
    assert (refused.value.attribute, refused.value.message) == (attribute, message)


async def test_the_checks_of_a_bulk_send_ask_nothing_twice(
    conn: asyncpg.Connection, settings: Settings, school: School
) -> None:
    """The sender's rights are loaded once, for all contexts that the request names."""
    work, code = Work(settings, IdBlocks(), TagSets(), cause=None), f"course_{school.course}"
    request = CreateConversation(
        author_id=school.teacher,
        body="Hello",
        recipients=[code, str(school.students[0])],
        context_code=code,
        group_conversation=True,
        bulk_message=True,
    )
    asked: list[str] = []
    with conn.query_logger(lambda query: asked.append(query.query)):
        await validate(work, conn, request)
        await asyncio.sleep(0)  # the driver calls the logger from the event loop's queue

    # The driver's own look at types, once per connection, is not ours.
    ours = [query for query in asked if "pg_catalog" not in query and "set_config" not in query]
    assert len(ours) == len(set(ours)) <= 10
