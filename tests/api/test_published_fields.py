"""Every field of the published descriptions (tests/support/published_api.py), in the answer and with its meaning.

Each test returns an answer and what all described fields of it have to be; ``shows`` compares one with the other and
with the list.
"""

from typing import Any

import pytest
from pydantic import TypeAdapter

from service.application.presentation import shapes
from tests.support import published_api
from tests.support.classroom import Classroom, Person
from tests.support.gateway import PUBLIC_URL
from tests.support.institution import Institution
from tests.support.published_api_coverage import SHOWN, AnId, JustNow, Shown, differences, fields_of, shows

CONVERSATION = TypeAdapter(shapes.Conversation)
NO_PICTURE, GROUP = f"{PUBLIC_URL}/images/messages/avatar-50.png", f"{PUBLIC_URL}/images/messages/avatar-group-50.png"


def people(*shown: Person, in_full: bool = False) -> list[dict[str, Any]]:
    """Participants in this order."""
    return [
        {"id": person.id, "name": f"U{person.id}", "full_name": f"User {person.id}"}
        | ({"avatar_url": NO_PICTURE, "uuid": f"uuid-{person.id}"} if in_full else {})
        for person in shown
    ]


def message(viewer: Person, author: Person, file: int, **fields: Any) -> dict[str, Any]:
    """A message that says Hello, with a recording and a file; ``fields`` where it is otherwise."""
    return {
        "id": AnId(),
        "created_at": JustNow(),
        "body": "Hello",
        "author_id": author.id,
        "generated": False,
        "media_comment": {
            "display_name": None,
            "content-type": "video/mp4",
            "media_id": "m-1",
            "media_type": "video",
            "url": f"{PUBLIC_URL}/users/{viewer.id}/media_download?entryId=m-1&redirect=1&type=mp4",
        },
        "forwarded_messages": [],
        "attachments": [
            {
                "id": file,
                "display_name": "notes.txt",
                "filename": "notes.txt",
                "content-type": "text/plain",
                "url": f"{PUBLIC_URL}/files/{file}/download?download_frd=1&verifier=file-{file}",
            }
            | ({"uuid": f"file-{file}"} if author is viewer or not fields.get("forwarded") else {})
        ],
    } | {name: value for name, value in fields.items() if name != "forwarded"}


class Correspondence:
    """Messages with everything that a message can carry, each forwarding the one before."""

    def __init__(self, classroom: Classroom, institution: Institution) -> None:
        self._classroom = classroom
        self._institution = institution
        self.files: list[int] = []
        self._last: list[tuple[str, Any]] = []

    async def load(self, author: Person) -> list[tuple[str, Any]]:
        """Parameters for the author's next message."""
        self.files.append(await self._institution.attachment(author.id))
        media = [("media_comment_id", "m-1"), ("media_comment_type", "video")]
        return [("attachment_ids[]", self.files[-1]), *media, *self._last]

    async def begin(self) -> None:
        """The third asks the second, and the second passes it on to the teacher."""
        third, second = self._classroom.third, self._classroom.second
        for author, to in ((third, second), (second, self._classroom.teacher)):
            made = await author.write(*self._classroom.to(to), *await self.load(author))
            self._last = [("forwarded_message_ids[]", made["messages"][0]["id"])]

    def forwarded(self, viewer: Person) -> list[dict[str, Any]]:
        """What ``begin`` has written, within the next message."""
        question = message(viewer, self._classroom.third, self.files[0], forwarded=True)
        return [message(viewer, self._classroom.second, self.files[1], forwarded=True, forwarded_messages=[question])]


@pytest.fixture
async def correspondence(classroom: Classroom, institution: Institution) -> Correspondence:
    """Begun."""
    made = Correspondence(classroom, institution)
    await made.begin()
    return made


def received(classroom: Classroom, conversation: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What the first student sees of a private message of the teacher's; ``fields`` where it is otherwise."""
    return {
        "id": conversation["id"],
        "subject": "Trip",
        "workflow_state": "unread",
        "last_message": "Hello",
        "last_message_at": JustNow(),
        "message_count": 1,
        "subscribed": True,
        "private": True,
        "starred": False,
        "properties": [],
        "audience": [classroom.teacher.id],
        "audience_contexts": {"courses": {str(classroom.course): ["TeacherEnrollment"]}, "groups": {}},
        "avatar_url": NO_PICTURE,
        "participants": people(classroom.teacher, classroom.first),
        "visible": True,
    } | fields


async def trip(classroom: Classroom) -> dict[str, Any]:
    """A private message of the teacher's to the first student, in the course."""
    about = [("subject", "Trip"), ("context_code", classroom.code)]
    return await classroom.teacher.write(*classroom.to(classroom.first), *about)


@shows("GET /conversations")
async def test_list_fields(classroom: Classroom) -> Shown:
    made = await trip(classroom)
    (found,) = await classroom.first.get("/conversations", ("include[]", "participant_avatars"), ("include[]", "uuid"))

    CONVERSATION.validate_python(found)
    everybody = people(classroom.teacher, classroom.first, in_full=True)
    return found, received(classroom, made, context_name="Biology", participants=everybody)


@shows("GET /conversations?include_all_conversation_ids")
async def test_list_fields_with_all_ids(classroom: Classroom) -> Shown:
    made, newer = await trip(classroom), await classroom.second.write(*classroom.to(classroom.first))
    parameters = [("include_all_conversation_ids", "true"), ("per_page", 1), ("page", 2)]

    found = await classroom.first.get("/conversations", *parameters)

    shown = received(classroom, made, context_name="Biology")
    return found, {"conversations": [shown], "conversation_ids": [newer["id"], made["id"]]}


@shows("POST /conversations")
async def test_create_fields(classroom: Classroom, correspondence: Correspondence) -> Shown:
    me, load = classroom.teacher, await correspondence.load(classroom.teacher)
    (found,) = await me.send(
        "POST",
        "/conversations",
        *classroom.to(classroom.first, classroom.second),
        ("body", "Hello"),
        ("subject", "Trip"),
        *load,
        status=201,
    )

    CONVERSATION.validate_python(found)
    shared: dict[str, Any] = {"courses": {str(classroom.course): []}, "groups": {}}
    return found, received(
        classroom,
        found,
        workflow_state="read",
        last_message=None,
        last_message_at=None,
        private=False,
        properties=["last_author", "attachments", "media_objects"],
        audience=[classroom.first.id, classroom.second.id],
        audience_contexts=shared,
        avatar_url=GROUP,
        participants=people(me, classroom.first, classroom.second, classroom.third),
        visible=False,
        messages=[message(me, me, correspondence.files[-1], forwarded_messages=correspondence.forwarded(me))],
    )


@shows("GET /conversations/batches")
async def test_batch_fields(classroom: Classroom, correspondence: Correspondence) -> Shown:
    me, load = classroom.teacher, await correspondence.load(classroom.teacher)
    bulk = [*classroom.to(classroom.first, classroom.second), ("bulk_message", "true"), ("mode", "async")]
    about = [("body", "Hello"), ("subject", "Trip"), ("context_code", classroom.code)]
    await me.send("POST", "/conversations", *bulk, *about, *load, status=202)
    (found,) = await me.get("/conversations/batches")

    TypeAdapter(shapes.Batch).validate_python(found)
    return found, {
        "id": AnId(),
        "workflow_state": "created",
        "completion": pytest.approx(0.0, abs=0.1),  # estimated by the time that has passed
        "tags": [classroom.code],
        "message": message(me, me, correspondence.files[-1], forwarded_messages=correspondence.forwarded(me)),
    }


@shows("GET /conversations/:id")
async def test_show_fields(classroom: Classroom, correspondence: Correspondence) -> Shown:
    """The authors of forwarded messages are among the participants, although not in the audience."""
    load, about = await correspondence.load(classroom.teacher), [("subject", "Trip"), ("context_code", classroom.code)]
    made = await classroom.teacher.write(*classroom.to(classroom.first), *about, *load)
    found = await classroom.first.get(f"/conversations/{made['id']}", ("include[]", "uuid"))

    CONVERSATION.validate_python(found)
    forwarded = correspondence.forwarded(classroom.first)
    return found, received(
        classroom,
        made,
        workflow_state="read",
        properties=["attachments", "media_objects"],
        context_name="Biology",
        participants=people(classroom.teacher, classroom.first, classroom.second, classroom.third, in_full=True),
        messages=[message(classroom.first, classroom.teacher, correspondence.files[-1], forwarded_messages=forwarded)],
        submissions=[],
    )


@shows("PUT /conversations/:id")
async def test_update_fields(classroom: Classroom) -> Shown:
    made = await trip(classroom)
    changes = [("conversation[workflow_state]", "archived"), ("conversation[starred]", "true")]

    found = await classroom.first.send("PUT", f"/conversations/{made['id']}", *changes)

    CONVERSATION.validate_python(found)
    return found, received(classroom, made, workflow_state="archived", starred=True, visible=False)


@shows("DELETE /conversations/:id")
async def test_delete_fields(classroom: Classroom) -> Shown:
    made = await trip(classroom)

    found = await classroom.first.send("DELETE", f"/conversations/{made['id']}")

    CONVERSATION.validate_python(found)
    gone: dict[str, Any] = {"workflow_state": "read", "last_message": None, "last_message_at": None, "visible": False}
    nowhere: dict[str, Any] = {"courses": {}, "groups": {}}
    return found, received(classroom, made, **gone, message_count=0, audience_contexts=nowhere)


async def group_trip(classroom: Classroom) -> dict[str, Any]:
    """A group message of the teacher's to two students."""
    about = [("subject", "Trip"), ("context_code", classroom.code)]
    return await classroom.teacher.write(*classroom.to(classroom.first, classroom.second), *about)


def in_group(classroom: Classroom, made: dict[str, Any], *others: Person, **fields: Any) -> dict[str, Any]:
    """What the first student sees of it; ``others`` are the audience after the teacher, as they are ordered."""
    return (
        received(
            classroom,
            made,
            private=False,
            audience=[classroom.teacher.id, *(person.id for person in others)],
            audience_contexts={"courses": {str(classroom.course): []}, "groups": {}},
            avatar_url=GROUP,
        )
        | fields
    )


@shows("POST /conversations/:id/add_recipients")
async def test_add_recipients_fields(classroom: Classroom) -> Shown:
    made = await group_trip(classroom)
    path = f"/conversations/{made['id']}/add_recipients"

    found = await classroom.first.send("POST", path, *classroom.to(classroom.third))

    CONVERSATION.validate_python(found)
    added = {
        "id": AnId(),
        "created_at": JustNow(),
        "body": f"U{classroom.third.id} was added to the conversation by U{classroom.first.id}",
        "author_id": classroom.first.id,
        "generated": True,
        "media_comment": None,
        "forwarded_messages": [],
        "attachments": [],
    }
    return found, in_group(
        classroom,
        made,
        classroom.second,
        classroom.third,
        participants=people(classroom.teacher, classroom.first, classroom.second, classroom.third),
        messages=[added],
    )


@shows("POST /conversations/:id/add_message")
async def test_add_message_fields(classroom: Classroom, correspondence: Correspondence) -> Shown:
    """Who has just written comes first; forwarded authors are not added here."""
    made, me = await group_trip(classroom), classroom.teacher
    path, load = f"/conversations/{made['id']}/add_message", await correspondence.load(me)

    found = await me.send("POST", path, ("body", "Hello"), *load)

    CONVERSATION.validate_python(found)
    forwarded = correspondence.forwarded(me)
    return found, received(
        classroom,
        made,
        workflow_state="read",
        last_message=None,
        last_message_at=None,
        message_count=2,
        private=False,
        properties=["last_author", "attachments", "media_objects"],
        audience=[classroom.first.id, classroom.second.id],
        audience_contexts={"courses": {str(classroom.course): []}, "groups": {}},
        avatar_url=GROUP,
        participants=people(me, classroom.first, classroom.second),
        visible=False,
        messages=[message(me, me, correspondence.files[-1], forwarded_messages=forwarded)],
    )


@shows("POST /conversations/:id/remove_messages")
async def test_remove_messages_fields(classroom: Classroom) -> Shown:
    made = await group_trip(classroom)
    path = f"/conversations/{made['id']}"
    reply = await classroom.second.send("POST", f"{path}/add_message", ("body", "And bring a coat"))

    found = await classroom.first.send("POST", f"{path}/remove_messages", ("remove[]", reply["messages"][0]["id"]))

    CONVERSATION.validate_python(found)
    order = (classroom.second, classroom.teacher, classroom.first)
    audience = [classroom.second.id, classroom.teacher.id]
    return found, in_group(classroom, made, audience=audience, participants=people(*order))


@shows("GET /conversations/unread_count")
async def test_unread_count_fields(classroom: Classroom) -> Shown:
    await trip(classroom)
    return await classroom.first.get("/conversations/unread_count"), {"unread_count": "1"}


# --- nothing is left out


def test_every_field_has_a_proof() -> None:
    assert {route for route, fields in published_api.FIELDS.items() if fields} == SHOWN
    assert published_api.UNANSWERED.keys() <= SHOWN
    assert {route.partition("?")[0] for route in published_api.FIELDS} == published_api.PARAMETERS.keys()


def test_what_a_proof_sees() -> None:
    answer = {"id": 1, "list": [{"a": 1}, {"a": None, "b": [{"c": 2}]}], "map": {"7": ["x"]}, "none": {}}

    assert set(fields_of(answer)) == {"id", "list", "list.a", "list.b", "list.b.c", "map", "none"}
    assert list(differences(answer, {"id": 1, "list": [{"a": 1}, {"b": [{"c": 2}]}]})) == []
    wrongs: list[dict[str, Any]] = [
        {"id": 2},
        {"missing": None},
        {"list": []},
        {"list": [{"a": 1}, {"b": [{"c": 3}]}]},
        {"list": [{"a": 1}, {"b": [{"c": 2}, {"c": 2}]}]},
        {"map": {}},
        {"map": {"7": ["x"], "8": ["x"]}},
        {"none": None},
    ]
    for wrong in wrongs:
        assert len(list(differences(answer, wrong))) == 1
