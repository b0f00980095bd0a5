"""Global ids of this installation wherever an id is taken, and those of others nowhere (CONTRACT 6.16)."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.classroom import Classroom, Person
from tests.support.conversations import Threads
from tests.support.gateway import Api
from tests.support.http_calls import call
from tests.support.institution import Institution

SHARD, OTHER = 7, 3
Token = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture
def edge_settings(edge_settings: Settings) -> Settings:
    """Of the installation 7."""
    return edge_settings.model_copy(update={"shard_id": SHARD})


def long(id_: int, shard: int = SHARD) -> str:
    """One number."""
    return str(shard * 10**13 + id_)


def short(id_: int, shard: int = SHARD) -> str:
    """With a tilde."""
    return f"{shard}~{id_}"


FORMS = pytest.mark.parametrize("form", [long, short])
Form = Callable[..., str]


@FORMS
async def test_in_paths(classroom: Classroom, form: Form) -> None:
    teacher = classroom.teacher
    made = await teacher.write(*classroom.to(classroom.first, classroom.second))
    own, others = form(made["id"]), form(made["id"], OTHER)

    assert (await teacher.get(f"/conversations/{own}"))["id"] == made["id"]
    assert (await teacher.send("PUT", f"/conversations/{own}", ("conversation[starred]", "1")))["starred"]
    assert (await teacher.send("POST", f"/conversations/{own}/add_message", ("body", "x")))["id"] == made["id"]
    await teacher.get(f"/conversations/{others}", status=404)
    await teacher.send("POST", f"/conversations/{others}/add_message", ("body", "x"), status=404)


@FORMS
async def test_in_recipients_contexts_and_tags(classroom: Classroom, form: Form) -> None:
    teacher, first, course = classroom.teacher, classroom.first, classroom.course
    made = await teacher.write(("recipients[]", form(first.id)), ("context_code", f"course_{form(course)}"))
    to_all = await teacher.write(
        ("recipients[]", f"course_{form(course)}_students"),
        ("group_conversation", "1"),
        ("tags[]", f"course_{form(course)}"),
    )

    assert made["audience"] == [first.id]
    assert made["context_code"] == classroom.code
    assert sorted(to_all["audience"]) == sorted([first.id, classroom.second.id, classroom.third.id])
    for nobody in (form(first.id, OTHER), f"course_{form(course, OTHER)}"):
        await teacher.send("POST", "/conversations", ("recipients[]", nobody), ("body", "x"), status=400)
    named = [("recipients[]", first.id), ("body", "x")]
    other_context = ("context_code", f"course_{form(course, OTHER)}")
    await teacher.send("POST", "/conversations", *named, other_context, status=400)


async def test_numbers_in_json(api: Api, token: Token, classroom: Classroom) -> None:
    """As numbers they are refused where local ones are: in recipients of a new message."""
    headers, path = await token(classroom.teacher.id), "/conversations"
    made = await classroom.teacher.write(*classroom.to(classroom.first, classroom.second))
    whole: dict[str, Any] = {"recipients": [int(long(classroom.third.id))]}
    await call(api.session, headers, "POST", f"{path}/{made['id']}/add_recipients", json=whole)
    update = {"conversation_ids": [int(long(made["id"])), int(long(made["id"], OTHER))], "event": "star"}
    await call(api.session, headers, "PUT", path, json=update)
    await call(api.session, headers, "POST", path, json=whole | {"body": "x"}, status=400)

    shown = await classroom.third.get(f"/conversations/{made['id']}")
    assert len(shown["participants"]) == 4


@FORMS
async def test_in_filters_and_searches(classroom: Classroom, form: Form) -> None:
    teacher, first = classroom.teacher, classroom.first
    made = await teacher.write(*classroom.to(first), ("context_code", classroom.code))
    await teacher.write(*classroom.to(classroom.second))
    sent = ("scope", "sent")

    assert await teacher.ids(sent, ("filter[]", f"user_{form(first.id)}")) == [made["id"]]
    assert made["id"] in await teacher.ids(sent, ("filter[]", f"course_{form(classroom.course)}"))
    assert await teacher.ids(sent, ("filter[]", f"user_{form(first.id, OTHER)}")) == []
    assert await teacher.ids(sent, ("filter[]", f"course_{form(classroom.course, OTHER)}")) == []
    found = await teacher.get(
        "/search/recipients", ("context", f"course_{form(classroom.course)}"), ("exclude[]", form(first.id))
    )
    assert {person["id"] for person in found} == {teacher.id, classroom.second.id, classroom.third.id}
    (person,) = await teacher.get("/search/recipients", ("user_id", form(first.id)))
    assert person["id"] == first.id
    await teacher.get("/search/recipients", ("user_id", form(first.id, OTHER)), status=404)


@FORMS
async def test_in_lists_of_ids(classroom: Classroom, threads: Threads, form: Form) -> None:
    teacher = classroom.teacher
    made = await teacher.write(*classroom.to(classroom.first, classroom.second))
    message = made["messages"][0]["id"]
    sent = [("body", "x"), ("recipients[]", classroom.third.id)]
    path = f"/conversations/{made['id']}/add_message"

    await teacher.send("POST", path, *sent, ("included_messages[]", form(message)))
    await teacher.send("POST", path, *sent, ("included_messages[]", form(message, OTHER)), status=400)
    await teacher.send("POST", path, *sent, ("forwarded_message_ids[]", form(message)))
    await teacher.send("POST", f"/conversations/{made['id']}/remove_messages", ("remove[]", form(message)))
    shown = await teacher.get(f"/conversations/{made['id']}")
    assert message not in [each["id"] for each in shown["messages"]]


@FORMS
async def test_in_as_user_id_and_never_another_user(
    classroom: Classroom, institution: Institution, api: Api, token: Token, form: Form
) -> None:
    admin, first = await institution.user(), classroom.first
    await institution.admin(admin)
    acting = Person(api.session, await token(admin), admin)

    assert (await acting.get("/users/self", ("as_user_id", form(first.id))))["id"] == first.id
    for wrong in (form(first.id, OTHER), "0" * 20 + str(first.id), f"{form(first.id)}0000000"):
        await acting.get("/users/self", ("as_user_id", wrong), status=401)


@FORMS
async def test_of_administrators_of_the_site(
    *, classroom: Classroom, institution: Institution, conn: asyncpg.Connection, api: Api, token: Token, form: Form
) -> None:
    made = await classroom.teacher.write(*classroom.to(classroom.first))
    message = made["messages"][0]["id"]
    await classroom.first.send("POST", f"/conversations/{made['id']}/remove_messages", ("remove[]", message))
    site = await institution.account(site_admin=True)
    admin = await institution.user()
    await institution.admin(admin, account=site)
    asking = Person(api.session, await token(admin), admin)
    user = ("user_id", form(classroom.first.id))

    path = "/conversations/deleted"
    assert len(await asking.get(path, user, ("conversation_id", form(made["id"])))) == 1
    await asking.get(path, user, ("conversation_id", form(made["id"], OTHER)), status=404)
    await asking.get(path, user, ("conversation_id", "9" * 40), status=404)
    assert await asking.get(path, ("user_id", "9" * 40)) == []
    restored = await asking.send(
        "PUT", "/conversations/restore", ("message_id", form(message)), user, ("conversation_id", form(made["id"]))
    )
    assert [each["id"] for each in restored] == [message]
