"""Every parameter of the published descriptions (tests/support/published_api.py); fields: test_published_fields.py."""

from typing import Any

import aiohttp
import asyncpg
from pydantic import TypeAdapter

from service.application.inbox import batch_update
from service.application.presentation import shapes
from tests.support import published_api
from tests.support.classroom import Classroom, Person
from tests.support.institution import Institution
from tests.support.published_api import ATTACHMENT, CONVERSATION, MEDIA_COMMENT, MESSAGE, PARTICIPANT
from tests.support.published_api_coverage import PROVEN, proves

LIST, CREATE = "GET /conversations", "POST /conversations"
SHOW, UPDATE = "GET /conversations/:id", "PUT /conversations/:id"
ADD_MESSAGE, ADD_PEOPLE = "POST /conversations/:id/add_message", "POST /conversations/:id/add_recipients"
REMOVE, BATCH_UPDATE = "POST /conversations/:id/remove_messages", "PUT /conversations"


# --- the list


@proves(LIST, "scope")
async def test_list_scope(classroom: Classroom) -> None:
    unread = await classroom.teacher.write(*classroom.to(classroom.first))
    starred = await classroom.second.write(*classroom.to(classroom.first, classroom.third))
    archived = await classroom.third.write(*classroom.to(classroom.first))
    sent = await classroom.first.write(*classroom.to(classroom.third), ("force_new", "true"))
    path = "/conversations/{}"
    await classroom.first.send("PUT", path.format(starred["id"]), ("conversation[starred]", "true"))
    await classroom.first.send("PUT", path.format(starred["id"]), ("conversation[workflow_state]", "read"))
    await classroom.first.send("PUT", path.format(archived["id"]), ("conversation[workflow_state]", "archived"))

    assert await classroom.first.ids(("scope", "unread")) == [unread["id"]]
    assert await classroom.first.ids(("scope", "starred")) == [starred["id"]]
    assert await classroom.first.ids(("scope", "archived")) == [archived["id"]]
    assert await classroom.first.ids(("scope", "sent")) == [sent["id"]]
    assert await classroom.first.ids() == [starred["id"], unread["id"]]


@proves(LIST, "filter[]", "filter", "filter_mode")
async def test_list_filter(classroom: Classroom, institution: Institution) -> None:
    other = await institution.course("Chemistry")
    await institution.enroll(other, classroom.first.id)
    await institution.enroll(other, classroom.second.id, "Teacher")
    biology = await classroom.teacher.write(*classroom.to(classroom.first), ("context_code", classroom.code))
    chemistry = await classroom.second.write(*classroom.to(classroom.first), ("context_code", f"course_{other}"))
    both = [chemistry["id"], biology["id"]]

    assert await classroom.first.ids(("filter[]", classroom.code)) == [biology["id"]]
    assert await classroom.first.ids(("filter", f"user_{classroom.second.id}")) == [chemistry["id"]]
    assert await classroom.first.ids(("filter[]", f"uuid:uuid-{classroom.second.id}")) == [chemistry["id"]]
    filters = [("filter[]", f"course_{other}"), ("filter[]", f"user_{classroom.teacher.id}")]
    assert await classroom.first.ids(*filters) == both
    assert await classroom.first.ids(*filters, ("filter_mode", "or")) == both
    assert await classroom.first.ids(*filters, ("filter_mode", "and")) == []
    assert await classroom.first.ids(("filter[]", f"course_{other}"), ("filter_mode", "and")) == [chemistry["id"]]


@proves(LIST, "interleave_submissions", "include_all_conversation_ids", "include[]")
async def test_list_shape(classroom: Classroom) -> None:
    made = [(await classroom.teacher.write(*classroom.to(classroom.first), ("force_new", "1")))["id"] for _ in range(3)]

    whole = await classroom.first.get("/conversations", ("include_all_conversation_ids", "true"), ("per_page", 2))
    assert [found["id"] for found in whole["conversations"]] == made[:0:-1]
    assert whole["conversation_ids"] == made[::-1]
    assert await classroom.first.ids(("interleave_submissions", "true")) == await classroom.first.ids()
    plain = await classroom.first.get("/conversations")
    included = await classroom.first.get("/conversations", ("include[]", "participant_avatars"), ("include[]", "uuid"))
    assert set(plain[0]["participants"][0]) == PARTICIPANT | {"pronouns"}
    assert set(included[0]["participants"][0]) == PARTICIPANT | {"pronouns", "avatar_url", "uuid"}


# --- sending


@proves(CREATE, "recipients[]", "subject", "body", "group_conversation")
async def test_create(classroom: Classroom) -> None:
    together = [("recipients[]", classroom.first.id), ("recipients[]", f"uuid:uuid-{classroom.second.id}")]
    made = await classroom.teacher.write(*together, ("group_conversation", "true"), ("subject", "Trip"))

    assert set(made["audience"]) == {classroom.first.id, classroom.second.id}
    assert (made["subject"], made["private"], made["last_authored_message"]) == ("Trip", False, "Hello")
    everybody = ("recipients[]", classroom.code)
    apart = await classroom.teacher.send("POST", "/conversations", ("body", "Hi"), everybody, status=201)
    assert sorted(found["audience"] for found in apart) == [
        [p.id] for p in (classroom.first, classroom.second, classroom.third)
    ]
    assert {found["private"] for found in apart} == {True}


@proves(CREATE, "force_new")
async def test_create_anew(classroom: Classroom) -> None:
    first, again = [await classroom.teacher.write(*classroom.to(classroom.first)) for _ in range(2)]
    new = await classroom.teacher.write(*classroom.to(classroom.first), ("force_new", "true"))

    assert first["id"] == again["id"] != new["id"]


@proves(CREATE, "bulk_message", "mode")
async def test_create_in_bulk(classroom: Classroom, client: aiohttp.ClientSession) -> None:
    bulk = [*classroom.to(classroom.first, classroom.second), ("bulk_message", "true"), ("body", "Hi")]

    now = await classroom.teacher.send("POST", "/conversations", *bulk, ("mode", "sync"), status=201)
    later = await classroom.teacher.send("POST", "/conversations", *bulk, ("mode", "async"), status=202)

    assert [len(found["audience"]) for found in now] == [1, 1]
    assert later == []
    assert len(await classroom.teacher.get("/conversations/batches")) == 1


@proves(CREATE, "context_code", "include[]")
async def test_create_in_a_context(classroom: Classroom) -> None:
    made = await classroom.teacher.write(
        *classroom.to(classroom.first), ("context_code", classroom.code), ("include[]", "uuid")
    )

    assert made["context_code"] == classroom.code
    assert {person["uuid"] for person in made["participants"]} == {
        f"uuid-{p.id}" for p in (classroom.teacher, classroom.first)
    }


@proves(CREATE, "scope", "filter[]", "filter_mode")
async def test_create_says_whether_it_is_visible(classroom: Classroom) -> None:
    """Under the scope and the filters that were sent with it."""
    to = classroom.to(classroom.first)
    mine, other = ("filter[]", f"user_{classroom.first.id}"), ("filter[]", f"user_{classroom.third.id}")

    assert not (await classroom.teacher.write(*to))["visible"]
    assert (await classroom.teacher.write(*to, ("scope", "sent")))["visible"]
    assert not (await classroom.teacher.write(*to, ("scope", "sent"), other))["visible"]
    assert (await classroom.teacher.write(*to, ("scope", "sent"), other, mine, ("filter_mode", "or")))["visible"]
    assert not (await classroom.teacher.write(*to, ("scope", "sent"), other, mine, ("filter_mode", "and")))["visible"]


@proves(CREATE, "attachment_ids[]", "media_comment_id", "media_comment_type")
async def test_create_with_files(classroom: Classroom, institution: Institution) -> None:
    file = await institution.attachment(classroom.teacher.id, name="notes.txt")
    media = [("media_comment_id", "m-1"), ("media_comment_type", "video")]
    made = await classroom.teacher.write(*classroom.to(classroom.first), ("attachment_ids[]", file), *media)
    (message,) = made["messages"]

    assert made["properties"] == ["last_author", "attachments", "media_objects"]
    assert set(message["media_comment"]) == MEDIA_COMMENT
    assert (message["media_comment"]["media_id"], message["media_comment"]["content-type"]) == ("m-1", "video/mp4")
    (shown,) = message["attachments"]
    assert set(shown) >= ATTACHMENT
    assert {name: shown[name] for name in ("id", "display_name", "filename", "content-type")} == {
        "id": file,
        "display_name": "notes.txt",
        "filename": "notes.txt",
        "content-type": "text/plain",
    }


@proves(CREATE, "user_note")
async def test_create_with_a_note(classroom: Classroom, conn: asyncpg.Connection) -> None:
    await classroom.teacher.write(*classroom.to(classroom.first), ("user_note", "false"))
    await classroom.teacher.write(*classroom.to(classroom.second), ("user_note", "true"))

    assert [row["user_id"] for row in await conn.fetch("SELECT user_id FROM journal_entries")] == [classroom.second.id]


# --- one conversation


@proves(SHOW, "auto_mark_as_read", "interleave_submissions", "scope", "filter[]", "filter_mode")
async def test_show(classroom: Classroom) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first), ("context_code", classroom.code))
    path, unread = f"/conversations/{made['id']}", ("auto_mark_as_read", "false")
    other = ("filter[]", f"user_{classroom.third.id}")

    async def visible(*parameters: tuple[str, Any]) -> bool:
        found: bool = (await classroom.first.get(path, unread, *parameters))["visible"]
        return found

    assert await visible(("scope", "unread"))
    assert not await visible(("scope", "archived"))
    assert not await visible(other)
    assert await visible(other, ("filter[]", classroom.code), ("filter_mode", "or"))
    assert not await visible(other, ("filter[]", classroom.code), ("filter_mode", "and"))
    assert (await classroom.first.get(path, unread))["workflow_state"] == "unread"
    found = await classroom.first.get(path, ("auto_mark_as_read", "true"), ("interleave_submissions", "true"))
    assert (found["workflow_state"], found["submissions"]) == ("read", [])


@proves(UPDATE, "conversation[workflow_state]", "conversation[subscribed]", "conversation[starred]")
async def test_update(classroom: Classroom) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))
    path = f"/conversations/{made['id']}"

    for name, value, shown in [
        ("workflow_state", "archived", "archived"),
        ("workflow_state", "unread", "unread"),
        ("workflow_state", "read", "read"),
        ("starred", "true", True),
        ("starred", "false", False),
        ("subscribed", "false", False),
        ("subscribed", "true", True),
    ]:
        found = await classroom.first.send("PUT", path, (f"conversation[{name}]", value))
        assert found[name] == shown
        assert set(found) >= CONVERSATION
        TypeAdapter(shapes.Conversation).validate_python(found)


@proves(UPDATE, "scope", "filter[]", "filter_mode")
async def test_update_says_whether_it_is_visible(classroom: Classroom) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first), ("context_code", classroom.code))
    path, archive = f"/conversations/{made['id']}", ("conversation[workflow_state]", "archived")
    archived, own = ("scope", "archived"), ("filter[]", classroom.code)
    other = ("filter[]", f"user_{classroom.third.id}")

    async def visible(*parameters: tuple[str, Any]) -> bool:
        found: bool = (await classroom.first.send("PUT", path, archive, *parameters))["visible"]
        return found

    assert not await visible()
    assert await visible(archived)
    assert not await visible(archived, other)
    assert await visible(archived, other, own, ("filter_mode", "or"))
    assert not await visible(archived, other, own, ("filter_mode", "and"))


@proves(ADD_PEOPLE, "recipients[]")
async def test_add_recipients(classroom: Classroom) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))
    found = await classroom.teacher.send(
        "POST", f"/conversations/{made['id']}/add_recipients", *classroom.to(classroom.third)
    )

    TypeAdapter(shapes.Conversation).validate_python(found)
    assert set(found) >= CONVERSATION
    assert set(found["audience"]) == {classroom.first.id, classroom.second.id, classroom.third.id}
    (message,) = found["messages"]
    assert set(message) >= MESSAGE
    assert message["generated"]
    assert (await classroom.third.get(f"/conversations/{made['id']}"))["message_count"] == 1


@proves(ADD_MESSAGE, "body", "attachment_ids[]", "media_comment_id", "media_comment_type")
async def test_add_message(classroom: Classroom, institution: Institution) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))
    file = await institution.attachment(classroom.first.id)
    media = [("media_comment_id", "m-2"), ("media_comment_type", "audio")]
    sent = [("body", "Yes"), ("attachment_ids[]", file), *media]
    found = await classroom.first.send("POST", f"/conversations/{made['id']}/add_message", *sent)

    TypeAdapter(shapes.Conversation).validate_python(found)
    assert set(found) >= CONVERSATION
    (message,) = found["messages"]
    assert (message["body"], message["author_id"]) == ("Yes", classroom.first.id)
    assert [each["id"] for each in message["attachments"]] == [file]
    assert message["media_comment"]["media_type"] == "audio"
    assert (await classroom.second.get("/conversations"))[0]["last_message"] == "Yes"


@proves(ADD_MESSAGE, "recipients[]", "included_messages[]")
async def test_add_message_to_some(classroom: Classroom) -> None:
    """A newcomer gets the new message, and of the old ones those that are included."""
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))
    path = f"/conversations/{made['id']}/add_message"
    (old,) = made["messages"]
    await classroom.teacher.send("POST", path, ("body", "For the first"), ("recipients[]", classroom.first.id))
    third = [("recipients[]", classroom.third.id), ("included_messages[]", old["id"])]
    await classroom.teacher.send("POST", path, ("body", "Welcome"), *third)

    async def bodies(person: Person) -> list[str]:
        return [m["body"] for m in (await person.get(f"/conversations/{made['id']}"))["messages"] if not m["generated"]]

    assert await bodies(classroom.first) == ["For the first", "Hello"]
    assert await bodies(classroom.second) == ["Hello"]
    assert await bodies(classroom.third) == ["Welcome", "Hello"]


@proves(REMOVE, "remove[]")
async def test_remove_messages(classroom: Classroom) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))
    reply = await classroom.teacher.send(
        "POST", f"/conversations/{made['id']}/add_message", ("body", "And bring a coat")
    )
    remove = ("remove[]", reply["messages"][0]["id"])
    found = await classroom.first.send("POST", f"/conversations/{made['id']}/remove_messages", remove)

    TypeAdapter(shapes.Conversation).validate_python(found)
    assert set(found) >= CONVERSATION
    assert (found["message_count"], found["last_message"]) == (1, "Hello")
    assert (await classroom.second.get("/conversations"))[0]["message_count"] == 2


# --- many conversations


@proves(BATCH_UPDATE, "conversation_ids[]", "event")
async def test_batch_update(classroom: Classroom, conn: asyncpg.Connection) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))
    other = await classroom.third.write(*classroom.to(classroom.first))

    for event, name, value in [
        ("mark_as_read", "workflow_state", "read"),
        ("mark_as_unread", "workflow_state", "unread"),
        ("star", "starred", True),
        ("unstar", "starred", False),
        ("archive", "workflow_state", "archived"),
        ("destroy", "message_count", 0),
    ]:
        progress = await classroom.first.send(
            "PUT", "/conversations", ("conversation_ids[]", made["id"]), ("event", event)
        )
        TypeAdapter(shapes.Progress).validate_python(progress)
        assert progress["workflow_state"] == "queued"
        async with conn.transaction():
            await batch_update.carry_out(conn, progress["id"])
        done = await classroom.first.get(f"/progress/{progress['id']}")
        assert (done["workflow_state"], done["completion"]) == ("completed", 100)
        if event == "destroy":
            await classroom.first.get(f"/conversations/{made['id']}", status=404)
        else:
            found = await classroom.first.get(f"/conversations/{made['id']}", ("auto_mark_as_read", "false"))
            assert found[name] == value
    untouched = await classroom.first.get(f"/conversations/{other['id']}", ("auto_mark_as_read", "false"))
    assert (untouched["workflow_state"], untouched["starred"]) == ("unread", False)


async def test_mark_all_as_read_and_the_count(classroom: Classroom) -> None:
    await classroom.teacher.write(*classroom.to(classroom.first))
    await classroom.second.write(*classroom.to(classroom.first))

    assert await classroom.first.get("/conversations/unread_count") == {"unread_count": "2"}
    assert await classroom.first.send("POST", "/conversations/mark_all_as_read") == {}
    assert await classroom.first.get("/conversations/unread_count") == {"unread_count": "0"}


async def test_find_recipients_is_the_search(classroom: Classroom) -> None:
    asked = ("search", f"User {classroom.second.id}")

    found = await classroom.first.get("/conversations/find_recipients", asked)

    assert [each["id"] for each in found] == [classroom.second.id]
    assert found == await classroom.first.get("/search/recipients", asked)


# --- nothing is left out


def test_every_parameter_has_a_proof() -> None:
    listed = {route: names for route, names in published_api.PARAMETERS.items() if names}

    assert listed == dict(PROVEN)
