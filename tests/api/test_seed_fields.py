"""Every field that the published descriptions name (seeds.py), in the answer and with its meaning."""

from pydantic import TypeAdapter

from service.api import shapes
from tests.api.people import Classroom
from tests.api.seeds import ATTACHMENT, BATCH, CONVERSATION, MESSAGE, NAMED_CONVERSATION, PARTICIPANT
from tests.institution import Institution


async def test_list_fields(classroom: Classroom) -> None:
    """Those of the newest description; each with what it is for."""
    made = await classroom.teacher.write(
        *classroom.to(classroom.first), ("subject", "Trip"), ("context_code", classroom.code)
    )
    (found,) = await classroom.first.get("/conversations")

    assert set(found) >= NAMED_CONVERSATION
    TypeAdapter(shapes.Conversation).validate_python(found)
    assert {name: found[name] for name in NAMED_CONVERSATION - {"last_message_at", "avatar_url", "participants"}} == {
        "id": made["id"],
        "subject": "Trip",
        "workflow_state": "unread",
        "last_message": "Hello",
        "message_count": 1,
        "subscribed": True,
        "private": True,
        "starred": False,
        "properties": [],
        "audience": [classroom.teacher.id],
        "audience_contexts": {"courses": {str(classroom.course): ["TeacherEnrollment"]}, "groups": {}},
        "visible": True,
        "context_name": "Biology",
    }
    assert found["avatar_url"].endswith("/images/messages/avatar-50.png")
    assert {person["id"] for person in found["participants"]} == {classroom.teacher.id, classroom.first.id}
    assert "start_at" not in found


async def test_batch_fields(classroom: Classroom) -> None:
    bulk = [
        *classroom.to(classroom.first, classroom.second),
        ("bulk_message", "true"),
        ("body", "Hi"),
        ("subject", "Trip"),
    ]
    in_context = [*bulk, ("context_code", classroom.code), ("mode", "async")]
    await classroom.teacher.send("POST", "/conversations", *in_context, status=202)
    (found,) = await classroom.teacher.get("/conversations/batches")

    TypeAdapter(shapes.Batch).validate_python(found)
    assert set(found) >= BATCH
    assert "subject" not in found
    assert (found["workflow_state"], found["tags"]) == ("created", [classroom.code])
    assert 0 <= found["completion"] < 1
    assert set(found["message"]) >= MESSAGE
    assert (found["message"]["body"], found["message"]["author_id"]) == ("Hi", classroom.teacher.id)


async def test_create_fields(classroom: Classroom) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))

    TypeAdapter(shapes.Conversation).validate_python(made)
    assert set(made) >= CONVERSATION
    assert [set(message) >= MESSAGE for message in made["messages"]] == [True]


async def test_show_fields(classroom: Classroom, institution: Institution) -> None:
    """With a forwarded message, whose author is among the participants although not in the audience."""
    file = await institution.attachment(classroom.third.id)
    asked = await classroom.third.write(*classroom.to(classroom.teacher), ("attachment_ids[]", file))
    (question,) = asked["messages"]
    made = await classroom.teacher.write(*classroom.to(classroom.first), ("forwarded_message_ids[]", question["id"]))
    found = await classroom.first.get(f"/conversations/{made['id']}")

    TypeAdapter(shapes.Conversation).validate_python(found)
    assert set(found) >= NAMED_CONVERSATION | {"messages", "submissions"}
    (message,) = found["messages"]
    assert set(message) >= MESSAGE
    assert (message["body"], message["author_id"], message["generated"]) == ("Hello", classroom.teacher.id, False)
    (forwarded,) = message["forwarded_messages"]
    assert set(forwarded) >= MESSAGE
    assert set(forwarded["attachments"][0]) >= ATTACHMENT - {"uuid"}
    assert found["audience"] == [classroom.teacher.id]
    assert {p["id"] for p in found["participants"]} == {classroom.teacher.id, classroom.first.id, classroom.third.id}
    assert set(found["participants"][0]) >= PARTICIPANT | {"avatar_url"}


async def test_delete_fields(classroom: Classroom) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first), ("subject", "Trip"))
    found = await classroom.first.send("DELETE", f"/conversations/{made['id']}")

    TypeAdapter(shapes.Conversation).validate_python(found)
    assert set(found) >= CONVERSATION
    assert {name: found[name] for name in ("subject", "last_message", "last_message_at", "message_count")} == {
        "subject": "Trip",
        "last_message": None,
        "last_message_at": None,
        "message_count": 0,
    }
    assert (found["workflow_state"], found["properties"], found["visible"]) == ("read", [], False)
