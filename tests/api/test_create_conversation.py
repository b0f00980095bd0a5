"""POST /api/v1/conversations (canvas/endpoints.md 4.2) and the batches it makes."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, FormData

from service.application.messages.create import MOST_LISTED
from service.runtime.metrics import BATCHES_ACCEPTED
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]
PATH = "/api/v1/conversations"

KEYS = {
    "id", "subject", "workflow_state", "last_message", "last_message_at", "last_authored_message",
    "last_authored_message_at", "message_count", "subscribed", "private", "starred", "properties", "audience",
    "audience_contexts", "avatar_url", "participants", "visible", "context_code",
}  # fmt: skip
MESSAGE_KEYS = {
    "id", "created_at", "body", "author_id", "generated", "media_comment", "forwarded_messages", "attachments",
    "participating_user_ids",
}  # fmt: skip


@pytest.fixture
async def teacher(token: Token, school: School) -> dict[str, str]:
    """The teacher's credentials."""
    return await token(school.teacher)


async def post(client: ClientSession, headers: dict[str, str], status: int = 201, **parts: Any) -> Any:
    """The body of the answer, whose status is checked."""
    async with client.post(PATH, headers=headers, json=parts) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_one_new_private_conversation_complete_to_the_key(
    client: ClientSession, teacher: dict[str, str], school: School
) -> None:
    student = school.students[0]
    code = f"course_{school.course}"
    (made,) = await post(client, teacher, recipients=[str(student)], body="Hello", subject="Hi", context_code=code)

    assert made.keys() == {*KEYS, "messages"}
    (message,) = made["messages"]
    assert message.keys() == MESSAGE_KEYS
    assert message["body"] == "Hello"
    assert message["author_id"] == school.teacher
    assert sorted(message["participating_user_ids"]) == sorted([school.teacher, student])
    expected = {
        "subject": "Hi",
        "workflow_state": "read",
        "last_message": None,
        "last_message_at": None,
        "last_authored_message": "Hello",
        "last_authored_message_at": message["created_at"],
        "message_count": 1,
        "subscribed": True,
        "private": True,
        "starred": False,
        "properties": ["last_author"],
        "audience": [student],
        "audience_contexts": {"courses": {str(school.course): ["StudentEnrollment"]}, "groups": {}},
        "visible": False,
        "context_code": code,
    }
    assert {key: made[key] for key in expected} == expected
    assert [p["id"] for p in made["participants"]] == [school.teacher, student]
    assert all({"common_courses", "common_groups", "avatar_url"} <= p.keys() for p in made["participants"])


async def test_the_sender_finds_it_in_sent(client: ClientSession, teacher: dict[str, str], school: School) -> None:
    (made,) = await post(client, teacher, recipients=[str(school.students[0])], body="Hello", scope="sent")
    assert made["visible"] is True


async def test_reuse_answers_201_with_the_same_conversation(
    client: ClientSession, teacher: dict[str, str], school: School
) -> None:
    student = str(school.students[0])
    (first,) = await post(client, teacher, recipients=[student], body="One", subject="Kept")
    (second,) = await post(client, teacher, recipients=[student], body="Two", subject="Dropped")
    assert (second["id"], second["subject"], second["message_count"]) == (first["id"], "Kept", 2)
    assert [m["body"] for m in second["messages"]] == ["Two"]


async def test_a_synchronous_bulk_answers_with_all_conversations_in_short(
    client: ClientSession, teacher: dict[str, str], school: School
) -> None:
    people = school.students[:3]
    made = await post(client, teacher, recipients=[str(s) for s in people], body="Hello")
    assert [c["audience"][0] for c in made] == sorted(people, reverse=True)
    assert all(c.keys() == KEYS for c in made)
    assert all(p.keys() == {"id", "name", "full_name", "pronouns"} for c in made for p in c["participants"])
    async with client.get(f"{PATH}/batches", headers=teacher) as response:
        assert await response.json() == []


async def test_authors_of_a_forwarded_message_are_shown_but_not_addressed(
    client: ClientSession, teacher: dict[str, str], school: School, threads: Threads
) -> None:
    """endpoints.md 3.4"""
    student, author = school.students[:2]
    source = await threads.private(author, school.teacher, "Original")

    (made,) = await post(client, teacher, recipients=[str(student)], body="Look", forwarded_message_ids=[source])

    assert [p["id"] for p in made["participants"]] == [school.teacher, student, author]
    assert made["audience"] == [student]
    assert [m["body"] for m in made["messages"][0]["forwarded_messages"]] == ["Original"]


async def test_a_group_conversation(client: ClientSession, teacher: dict[str, str], school: School) -> None:
    people = school.students[:3]
    (made,) = await post(
        client, teacher, recipients=[str(s) for s in people], body="Hello", group_conversation=True, mode="async"
    )
    assert made["private"] is False
    assert sorted(made["audience"]) == people
    assert made["avatar_url"].endswith("/images/messages/avatar-group-50.png")


async def test_an_accepted_batch_is_listed_until_it_is_sent(
    client: ClientSession, teacher: dict[str, str], token: Token, school: School, conn: asyncpg.Connection
) -> None:
    body = {
        "recipients": [f"course_{school.course}_students"],
        "body": "Hello",
        "group_conversation": "1",
        "bulk_message": "1",
        "mode": "async",
    }
    accepted = BATCHES_ACCEPTED._value.get()
    async with client.post(PATH, headers=teacher, json=body) as response:
        assert (response.status, await response.json()) == (202, [])
        batch_id = int(response.headers["X-Conversation-Batch-Id"])

    assert BATCHES_ACCEPTED._value.get() == accepted + 1
    async with client.get(f"{PATH}/batches", headers=teacher) as response:
        (listed,) = await response.json()
        assert 'rel="first"' in response.headers["Link"]
    assert listed.keys() == {"id", "workflow_state", "completion", "recipient_count", "message", "tags"}
    assert (listed["id"], listed["workflow_state"], listed["recipient_count"]) == (batch_id, "created", 250)
    assert listed["tags"] == [f"course_{school.course}"]
    assert listed["message"].keys() == MESSAGE_KEYS
    assert listed["message"]["participating_user_ids"] == []
    assert 0 < listed["completion"] < 1

    async with client.get(f"{PATH}/batches/{batch_id}", headers=teacher) as response:
        one = await response.json()
    more = {"state", "total", "delivered", "failed", "skipped", "created_at", "started_at", "finished_at", "send_at"}
    assert one.keys() == {*listed, *more, "error", "eta", "recipients_per_second"}
    assert (one["state"], one["total"], one["delivered"]) == (one["workflow_state"], 250, 0)
    unknown = ("eta", "recipients_per_second", "started_at", "finished_at", "send_at", "error")
    assert [one[name] for name in unknown] == [None] * len(unknown)

    outsider = await token(school.students[0])
    for path, headers, status in [
        (f"{PATH}/batches/{batch_id}", outsider, 404),
        (f"{PATH}/batches/999999", teacher, 404),
        (f"{PATH}/batches/x", teacher, 404),
    ]:
        async with client.get(path, headers=headers) as response:
            assert response.status == status
    async with client.get(f"{PATH}/batches", headers=outsider) as response:
        assert await response.json() == []

    await conn.execute("UPDATE batches SET state = 'sent', delivered = total, finished_at = now()")
    for query, found in [("", []), ("?state[]=sent", [batch_id]), ("?state=created&state=sent", [batch_id])]:
        async with client.get(f"{PATH}/batches{query}", headers=teacher) as response:
            assert [b["id"] for b in await response.json()] == found


@pytest.mark.parametrize("later", [False, True], ids=["now", "later"])
async def test_a_message_to_more_than_are_listed_reaches_them_all(
    *,
    client: ClientSession,
    teacher: dict[str, str],
    school: School,
    institution: Institution,
    conn: asyncpg.Connection,
    later: bool,
) -> None:
    """Their ids do not come to the gateway."""
    course = await institution.course()
    everybody = await institution.users(MOST_LISTED + 1)
    await institution.enroll(course, [school.teacher], "Teacher")
    await institution.enroll(course, everybody)
    at = {"send_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()} if later else {}
    sent = {"recipients": [f"course_{course}_students"], "body": "x", "group_conversation": "1", "bulk_message": "1"}

    assert await post(client, teacher, 202, **sent, **at) == []

    chunks = await conn.fetch("SELECT recipients FROM chunks ORDER BY position")
    assert [user_id for chunk in chunks for user_id in chunk["recipients"]] == sorted(everybody)


async def test_batches_are_listed_page_by_page(client: ClientSession, teacher: dict[str, str], school: School) -> None:
    made = []
    for _ in range(3):
        body = {"recipients": [str(student) for student in school.students[:2]], "body": "Hello", "mode": "async"}
        async with client.post(PATH, headers=teacher, json=body) as response:
            made.append(int(response.headers["X-Conversation-Batch-Id"]))

    pages = []
    for page in (1, 2, 3):
        async with client.get(f"{PATH}/batches?per_page=2&page={page}", headers=teacher) as response:
            pages.append([batch["id"] for batch in await response.json()])

    assert pages == [made[:2], made[2:], []]


def _multipart(school: School) -> FormData:
    form = FormData(default_to_multipart=True)
    for student in school.students[:2]:
        form.add_field("recipients[]", str(student))
    form.add_field("body", "Hello")
    return form


def _brackets(school: School) -> list[tuple[str, str]]:
    return [("recipients[]", str(student)) for student in school.students[:2]]


ENCODINGS: dict[str, Callable[[School], dict[str, Any]]] = {
    "form, brackets": lambda s: {"data": [*_brackets(s), ("body", "Hello")]},
    "form, bare repeats": lambda s: {"data": f"recipients={s.students[0]}&recipients={s.students[1]}&body=Hello",
                                     "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    "form, commas": lambda s: {"data": {"recipients": f"{s.students[0]},{s.students[1]}", "body": "Hello"}},
    "json": lambda s: {"json": {"recipients": [str(u) for u in s.students[:2]], "body": "Hello"}},
    "json, commas": lambda s: {"json": {"recipients": f"{s.students[0]}, {s.students[1]}", "body": "Hello"}},
    "json, bracket key": lambda s: {"json": {"recipients[]": [str(u) for u in s.students[:2]], "body": "Hello"}},
    "query": lambda s: {"params": [*_brackets(s), ("body", "Hello")]},
    "query and body": lambda s: {"params": {"body": "lost"}, "json": {"recipients": [str(u) for u in s.students[:2]],
                                                                     "body": "Hello"}},
    "multipart": lambda s: {"data": _multipart(s)},
}  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_real_clients_encodings_mean_the_same(
    client: ClientSession, teacher: dict[str, str], school: School, encoding: str
) -> None:
    request = ENCODINGS[encoding](school)
    headers = {**teacher, **request.pop("headers", {})}
    async with client.post(PATH, headers=headers, **request) as response:
        assert response.status == 201, await response.text()
        made = await response.json()
    assert sorted(c["audience"][0] for c in made) == school.students[:2]


@pytest.mark.parametrize(
    "case",
    [
        ({"body": "x"}, 400, [{"attribute": "recipients", "message": "blank"}]),
        ({"recipients": ["999999999999"], "body": "x"}, 400, [{"attribute": "recipients", "message": "invalid"}]),
        ({"recipients": ["me"], "body": " "}, 400, [{"attribute": "body", "message": "blank"}]),
        ({"recipients": ["me"]}, 400, [{"attribute": "body", "message": "blank"}]),
        ({"recipients": ["me"], "body": "x", "filter_mode": "xor"}, 400,
         [{"attribute": "filter_mode", "message": "invalid"}]),
        ({"recipients": ["me"], "body": "x", "context_code": "course_424242"}, 404,
         {"errors": [{"message": "The specified resource does not exist."}]}),
        ({"recipients": ["me"], "body": "x", "context_code": "user_1"}, 400,
         [{"attribute": "context_code", "message": "invalid"}]),
        ({"recipients": [1, "me"], "body": "x"}, 400, [{"attribute": "recipients", "message": "invalid"}]),
        ({"recipients": ["me"], "body": "x", "subject": "s" * 256}, 400,
         {"errors": {"subject": [{"attribute": "subject", "type": "too_long", "message": "too_long"}]}}),
        ({"recipients": ["me"], "body": "x\u0000"}, 400, None),
        ({"recipients": ["me", "9" * 40], "body": "x"}, 201, None),
        ({"recipients": ["me"], "body": "x", "attachment_ids": ["9" * 40], "forwarded_message_ids": ["9" * 40]}, 201,
         None),
    ],
)  # fmt: skip
async def test_refusals_in_canvas_shape(
    client: ClientSession, teacher: dict[str, str], school: School, case: tuple[dict[str, Any], int, Any]
) -> None:
    parts, status, answer = case
    if "recipients" in parts:
        parts = {**parts, "recipients": [str(school.teacher) if r == "me" else r for r in parts["recipients"]]}
    body = await post(client, teacher, status, **parts)
    if answer is not None:
        assert body == answer


async def test_students_may_not_write_to_the_whole_course(client: ClientSession, token: Token, school: School) -> None:
    student = await token(school.students[0])
    course = f"course_{school.course}"
    refused = [{"attribute": "recipients", "message": "restricted by role"}]
    for recipients in ([course], [f"{course}_students"], [f"{course}_observers", str(school.teacher)]):
        assert await post(client, student, 400, recipients=recipients, body="x") == refused
    await post(client, student, 201, recipients=[f"{course}_teachers"], body="x")


async def test_a_group_has_a_hundred_recipients_and_not_one_more(
    client: ClientSession, teacher: dict[str, str], school: School
) -> None:
    people = [str(s) for s in school.students]
    refused = [{"attribute": "recipients", "message": "too many for group conversation"}]
    for more in ({"group_conversation": True}, {}):
        assert await post(client, teacher, 400, recipients=people[:101], body="x", **more) == refused
        await post(client, teacher, 201, recipients=people[:100], body="x", **more)
    await post(client, teacher, 201, recipients=people[:101], body="x", force_new=True)


@pytest.mark.parametrize(
    "ended",
    [{"state": "completed"}, {"conclude_at": datetime.now(UTC) - timedelta(days=1), "restrict_dates": True}],
    ids=["by its state", "by its dates"],
)
@pytest.mark.parametrize("named_by", ["course", "group", "section"])
async def test_a_concluded_course_takes_no_messages_of_anybody(
    *,
    client: ClientSession,
    teacher: dict[str, str],
    token: Token,
    school: School,
    institution: Institution,
    ended: dict[str, Any],
    named_by: str,
) -> None:
    """Also where nobody could be found there; without the course as context people are reached as ever."""
    over = await institution.course("Latin", **ended)
    group = await institution.group(course=over, members=[school.teacher, *school.students[:2]])
    code = {
        "course": f"course_{over}",
        "group": f"group_{group}",
        "section": f"section_{await institution.section(over)}",
    }[named_by]
    student, other = school.students[:2]
    admin = await institution.user()
    await institution.enroll(over, school.teacher, "Teacher")
    await institution.enroll(over, student)
    await institution.admin(admin)
    refused = [{"attribute": "Course concluded", "message": "Unable to send messages"}]
    for headers in (teacher, await token(student), await token(admin)):
        for recipients in ([str(school.teacher)], [str(student)], [str(other)], [f"course_{over}"], ["nonsense"]):
            named: dict[str, Any] = {"recipients": recipients, "body": "x", "context_code": code}
            assert await post(client, headers, 400, **named) == refused
            assert await post(client, headers, 400, **named, bulk_message=True, group_conversation=True) == refused
    await post(client, teacher, 201, recipients=[str(student)], body="x")


async def test_a_group_of_a_course_that_goes_on_or_of_none_takes_messages(
    client: ClientSession, token: Token, school: School, institution: Institution
) -> None:
    one, other = school.students[:2]
    for course in (school.course, None):
        group = await institution.group(course=course, members=[one, other])
        sent = {"recipients": [str(other)], "body": "x", "context_code": f"group_{group}"}
        await post(client, await token(one), 201, **sent)


async def test_arrays_by_index_and_nulls_in_arrays(
    client: ClientSession, teacher: dict[str, str], school: School
) -> None:
    first, second = school.students[:2]
    form = FormData([("recipients[0]", str(first)), ("recipients[1]", str(second)), ("body", "x")])
    async with client.post(PATH, headers=teacher, data=form) as response:
        assert response.status == 201, await response.text()
        assert sorted(made["audience"][0] for made in await response.json()) == [first, second]
    (made,) = await post(client, teacher, 201, recipients=[None, str(first), None], body="x")
    assert made["audience"] == [first]
    blank = [{"attribute": "recipients", "message": "blank"}]
    assert await post(client, teacher, 400, recipients=[None], body="x") == blank


async def test_who_is_in_a_conversation_of_the_senders_may_be_written_to_from_it(
    client: ClientSession, token: Token, institution: Institution, threads: Threads
) -> None:
    """Not from one that the sender is not in, and not others than its participants."""
    sender, fellow, unrelated = await institution.users(3)
    own, others = await threads.group(sender, [fellow]), await threads.group(unrelated, [fellow])
    headers = await token(sender)
    named = {"recipients": [str(fellow)], "body": "x"}
    refused = [{"attribute": "recipients", "message": "invalid"}]

    assert await post(client, headers, 400, **named) == refused
    assert await post(client, headers, 400, **named, from_conversation_id=others) == refused
    (made,) = await post(client, headers, 201, **named, from_conversation_id=own)
    assert made["audience"] == [fellow]
    unknown = {"recipients": [str(unrelated)], "body": "x", "from_conversation_id": own}
    assert await post(client, headers, 400, **unknown) == refused


async def test_a_differentiation_tag_is_for_staff_and_never_shared(
    client: ClientSession, teacher: dict[str, str], token: Token, school: School, institution: Institution
) -> None:
    tag = await institution.group(course=school.course, tag=True)
    await institution.join(tag, school.students[:3])
    named = {"recipients": [f"differentiation_tag_{tag}"], "body": "x"}
    made = await post(client, teacher, 201, **named, group_conversation=True, bulk_message=True)
    assert sorted(c["audience"][0] for c in made) == school.students[:3]
    for headers, more in [(teacher, {"group_conversation": True}), (await token(school.students[0]), {})]:
        (refused,) = await post(client, headers, 400, **named, **more)
        assert refused["attribute"] == "recipients"


async def test_nothing_is_stored_by_a_refusal(
    client: ClientSession, teacher: dict[str, str], school: School, conn: asyncpg.Connection
) -> None:
    await post(client, teacher, 400, recipients=[str(school.students[0])], body="x", subject="s" * 256)
    for table in ("sends", "conversations", "participants", "batches", "media_objects"):
        assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_ids_become_strings_on_request(client: ClientSession, teacher: dict[str, str], school: School) -> None:
    headers = {**teacher, "Accept": "application/json+canvas-string-ids"}
    (made,) = await post(client, headers, recipients=[str(school.students[0])], body="x")
    assert made["audience"] == [str(school.students[0])]
    assert json.loads(json.dumps(made["messages"][0]["participating_user_ids"])) == [
        str(u) for u in made["messages"][0]["participating_user_ids"]
    ]
    assert isinstance(made["id"], str)
