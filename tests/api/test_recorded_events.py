"""What each request leaves in the outbox: to the key, and only if it was committed."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp import web

from service.api.app import build_app
from service.api.keys import BROKER, POOL, SETTINGS
from sql import outbox
from tests.support.classroom import Classroom, Person
from tests.support.gateway import PUBLIC_URL, Api

Token = Callable[..., Awaitable[dict[str, str]]]
Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]


@pytest.fixture
async def recorded(conn: asyncpg.Connection) -> Callable[[], Awaitable[list[dict[str, Any]]]]:
    """Takes what was recorded; metadata, body and ``key`` (routing key) of the events, each lane in order."""

    async def take() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        assert await conn.fetchval(
            "SELECT count(*) = 0 FROM outbox WHERE lane <> coalesce(outbox_lane(conversation_ids[1]), lane)"
        )
        while True:
            async with conn.transaction():
                taken = await outbox.take_events(conn, patience=timedelta(), copies=1000, rows=1000)
            if taken is None:
                return found
            found += [{"key": event.name, **orjson.loads(event.body)} for row in taken.rows for event in row.events()]

    return take


Recorded = Callable[[], Awaitable[list[dict[str, Any]]]]


def keys(events: list[dict[str, Any]]) -> list[str]:
    """Without the long common part of their names."""
    return [event["key"].removeprefix("conversation_") for event in events]


async def test_a_first_message_and_its_conversation(classroom: Classroom, recorded: Recorded) -> None:
    made = await classroom.first.write(*classroom.to(classroom.second))

    created, message = await recorded()

    at = made["last_authored_message_at"]
    conversation_id, message_id = str(made["id"]), str(made["messages"][0]["id"])
    assert created["body"] == {"conversation_id": conversation_id, "updated_at": at}
    assert message["body"] == {
        "author_id": str(classroom.first.id),
        "conversation_id": conversation_id,
        "created_at": at,
        "message_id": message_id,
    }


async def test_the_metadata_of_a_request(
    client: aiohttp.ClientSession, conn: asyncpg.Connection, token: Token, classroom: Classroom, recorded: Recorded
) -> None:
    await conn.execute("UPDATE users SET login = 'ana', sis_id = 'S-1' WHERE id = $1", classroom.first.id)
    headers = await token(classroom.first.id)
    secret = headers.pop("Authorization").removeprefix("Bearer ")
    async with client.post(
        f"/api/v1/conversations?access_token={secret}&as_user_id=self",
        json={"recipients": [str(classroom.second.id)], "body": "Hello"},
        headers={
            **headers,
            "User-Agent": "curl",
            "Referer": f"https://school.example/inbox?access_token={secret}&page=2",
            "Host": "school.example:8080",
        },
    ) as answer:
        assert answer.status == 201
        request_id = answer.headers["X-Request-Context-Id"]

    created, message = await recorded()

    user = str(10**13 + classroom.first.id)
    metadata = created["metadata"]
    assert metadata.pop("event_time").endswith("Z")
    assert metadata == {
        "event_name": "conversation_created",
        "producer": "canvas",
        "root_account_id": "10000000000001",
        "user_id": user,
        "user_login": "ana",
        "user_sis_id": "S-1",
        "user_account_id": "10000000000001",
        "context_type": "User",
        "context_id": user,
        "user_agent": "curl",
        "client_ip": "127.0.0.1",
        "hostname": "school.example",
        "http_method": "POST",
        "url": f"{PUBLIC_URL}/api/v1/conversations?as_user_id=self",
        "referrer": "https://school.example/inbox?page=2",
        "request_id": request_id,
        "message_id": f"conversation_created.{created['body']['conversation_id']}",
    }
    assert message["metadata"]["request_id"] == request_id
    assert secret not in str((created, message))


async def test_a_change_by_one_who_acts_as_another_names_both(
    client: aiohttp.ClientSession,
    conn: asyncpg.Connection,
    token: Token,
    classroom: Classroom,
    recorded: Recorded,
) -> None:
    admin = 990
    await conn.execute(
        "INSERT INTO users (id, name, workflow_state, login, as_of) VALUES ($1, 'Admin', 'registered', 'root', now())",
        admin,
    )
    await conn.execute(
        "INSERT INTO account_users (id, account_id, user_id, role, workflow_state, as_of)"
        " VALUES (1, 1, $1, 'AccountAdmin', 'active', now())",
        admin,
    )
    async with client.post(
        "/api/v1/conversations",
        json={
            "recipients": [str(classroom.second.id)],
            "body": "Hello",
            "as_user_id": classroom.first.id,
        },
        headers=await token(admin),
    ) as answer:
        assert answer.status == 201, await answer.text()

    created, _ = await recorded()

    assert created["metadata"]["user_id"] == str(10**13 + classroom.first.id)
    assert created["metadata"]["real_user_id"] == str(10**13 + admin)
    assert "user_login" not in created["metadata"]


async def test_a_second_message_in_a_private_thread(classroom: Classroom, recorded: Recorded) -> None:
    first = await classroom.first.write(*classroom.to(classroom.second))
    await recorded()

    second = await classroom.first.write(*classroom.to(classroom.second))

    (message,) = await recorded()
    assert first["id"] == second["id"]
    assert message["key"] == "conversation_message_created"
    assert message["body"]["conversation_id"] == str(first["id"])
    assert message["body"]["message_id"] == str(second["messages"][0]["id"])


async def test_a_group(classroom: Classroom, recorded: Recorded) -> None:
    made = await classroom.first.write(*classroom.to(classroom.second, classroom.third))

    created, message = await recorded()

    assert keys([created, message]) == ["created", "message_created"]
    assert created["body"]["conversation_id"] == str(made["id"])
    assert message["body"]["message_id"] == str(made["messages"][0]["id"])


async def test_a_bulk_send_within_the_request_records_every_copy_and_never_its_template(
    classroom: Classroom, recorded: Recorded
) -> None:
    recipients = [("recipients[]", person.id) for person in (classroom.first, classroom.second, classroom.third)]

    made = await classroom.teacher.send("POST", "/conversations", ("body", "Hello"), *recipients, status=201)

    events = await recorded()
    conversations = [event for event in events if not event["key"].startswith("batch_")]
    assert keys(conversations) == ["created", "message_created"] * 3
    assert {event["body"]["conversation_id"] for event in conversations} == {str(each["id"]) for each in made}
    assert {event["metadata"]["http_method"] for event in events} == {"POST"}


@pytest.mark.parametrize("reused", [False, True])
async def test_copies_of_a_bulk_send_say_of_which_batch_and_for_whom(
    classroom: Classroom, conn: asyncpg.Connection, recorded: Recorded, reused: bool
) -> None:
    """The second person's thread is there before."""
    people = (classroom.first, classroom.second, classroom.third)
    if reused:
        await classroom.teacher.write(*classroom.to(classroom.second))
        await recorded()
    recipients = [("recipients[]", person.id) for person in people]

    made = await classroom.teacher.send("POST", "/conversations", ("body", "Hello"), *recipients, status=201)

    batch_id = await conn.fetchval("SELECT id FROM batches")
    thread = {conversation["audience"][0]: str(conversation["id"]) for conversation in made}
    messages = [event for event in await recorded() if event["key"] == "conversation_message_created"]
    assert {
        (m["metadata"]["batch_id"], m["metadata"]["recipient_id"]): m["body"]["conversation_id"] for m in messages
    } == {(str(10**13 + batch_id), str(10**13 + person.id)): thread[person.id] for person in people}


@pytest.mark.parametrize("flags", [("group_conversation", "bulk_message"), ("force_new",)])
async def test_a_send_to_one_person_that_is_answered_at_once_is_no_batch_to_a_listener(
    classroom: Classroom, recorded: Recorded, flags: tuple[str, ...]
) -> None:
    named = [("recipients[]", classroom.first.id), *((flag, "1") for flag in flags)]

    await classroom.teacher.write(*named)
    assert keys(await recorded()) == ["created", "message_created"]

    two = [*named, ("recipients[]", classroom.second.id), ("body", "Hello")]
    await classroom.teacher.send("POST", "/conversations", *two, status=201)
    assert {"batch_started", "batch_finished"} <= set(keys(await recorded()))


async def test_an_accepted_bulk_send_has_no_events_yet(classroom: Classroom, recorded: Recorded) -> None:
    recipients = [("recipients[]", person.id) for person in (classroom.first, classroom.second)]

    await classroom.teacher.send("POST", "/conversations", ("body", "Hi"), ("mode", "async"), *recipients, status=202)

    assert await recorded() == []


async def test_a_reply(classroom: Classroom, recorded: Recorded) -> None:
    made = await classroom.first.write(*classroom.to(classroom.second))
    await recorded()

    shown = await classroom.second.send("POST", f"/conversations/{made['id']}/add_message", ("body", "Hello yourself"))

    (message,) = await recorded()
    assert message["key"] == "conversation_message_created"
    assert message["body"] == {
        "author_id": str(classroom.second.id),
        "conversation_id": str(made["id"]),
        "created_at": shown["messages"][0]["created_at"],
        "message_id": str(shown["messages"][0]["id"]),
    }


async def test_a_reply_with_new_recipients_forwards_the_conversation_once(
    classroom: Classroom, recorded: Recorded
) -> None:
    made = await classroom.first.write(*classroom.to(classroom.second, classroom.third))
    await recorded()
    reply = [("body", "And you"), ("recipients[]", classroom.second.id), ("recipients[]", classroom.teacher.id)]

    shown = await classroom.first.send("POST", f"/conversations/{made['id']}/add_message", *reply)
    forwarded, message = await recorded()
    await classroom.first.send("POST", f"/conversations/{made['id']}/add_message", *reply)

    assert keys([forwarded, message]) == ["forwarded", "message_created"]
    at = shown["messages"][0]["created_at"]
    assert forwarded["body"] == {"conversation_id": str(made["id"]), "updated_at": at}
    assert message["body"]["message_id"] == str(shown["messages"][0]["id"])
    assert keys(await recorded()) == ["message_created"]


async def test_added_people_are_recorded_with_the_generated_message(
    conn: asyncpg.Connection, classroom: Classroom, recorded: Recorded
) -> None:
    made = await classroom.first.write(*classroom.to(classroom.second, classroom.third))
    await recorded()
    path = f"/conversations/{made['id']}/add_recipients"

    await classroom.first.send("POST", path, ("recipients[]", classroom.teacher.id))
    forwarded, message = await recorded()
    await classroom.first.send("POST", path, ("recipients[]", classroom.teacher.id))

    generated = await conn.fetchval("SELECT id FROM messages WHERE conversation_id = $1", made["id"])
    assert keys([forwarded, message]) == ["forwarded", "message_created"]
    assert forwarded["body"]["conversation_id"] == str(made["id"])
    assert message["body"]["message_id"] == str(generated)
    assert message["body"]["author_id"] == str(classroom.first.id)
    assert await recorded() == []


async def test_what_is_refused_is_not_recorded(classroom: Classroom, recorded: Recorded) -> None:
    made = await classroom.first.write(*classroom.to(classroom.second))
    await recorded()

    await classroom.first.send("POST", "/conversations", ("recipients[]", classroom.second.id), status=400)
    await classroom.third.send("POST", f"/conversations/{made['id']}/add_message", ("body", "Me too"), status=404)
    path = f"/conversations/{made['id']}/add_recipients"
    await classroom.first.send("POST", path, ("recipients[]", classroom.third.id), status=400)

    assert await recorded() == []


async def test_what_is_rolled_back_is_not_recorded(
    conn: asyncpg.Connection, classroom: Classroom, recorded: Recorded
) -> None:
    """The last thing a transaction of a reply does fails, at its commit."""
    made = await classroom.first.write(*classroom.to(classroom.second))
    await recorded()
    await conn.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        " CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        path = f"/conversations/{made['id']}/add_message"
        await classroom.second.send("POST", path, ("body", "Hello yourself"), status=500)
    finally:
        await conn.execute("DROP TRIGGER refuse ON outbox; DROP FUNCTION refuse()")

    assert await recorded() == []
    assert await conn.fetchval("SELECT count(*) FROM messages") == 0


async def test_reading_starring_and_deleting_are_not_recorded(classroom: Classroom, recorded: Recorded) -> None:
    """canvas/events.md 2"""
    made = await classroom.first.write(*classroom.to(classroom.second))
    await recorded()
    path = f"/conversations/{made['id']}"

    await classroom.second.send("PUT", path, ("conversation[workflow_state]", "archived"))
    await classroom.second.send("PUT", path, ("conversation[starred]", "true"))
    await classroom.second.send("DELETE", path)

    assert await recorded() == []


async def test_with_events_switched_off_nothing_is_recorded(
    api: Api, serve: Serve, token: Token, classroom: Classroom, recorded: Recorded
) -> None:
    quiet = api.app[SETTINGS].model_copy(update={"events": False})
    client = await serve(build_app(quiet, api.app[POOL], api.app[BROKER]))
    person = Person(client, await token(classroom.first.id), classroom.first.id)

    made = await person.write(*classroom.to(classroom.second, classroom.third))
    await person.send("POST", f"/conversations/{made['id']}/add_message", ("body", "And"))
    await person.send("POST", f"/conversations/{made['id']}/add_recipients", ("recipients[]", classroom.teacher.id))
    await person.write(*classroom.to(classroom.second))

    assert await recorded() == []
