"""The Python client of Canvas, canvasapi, against the running service: each of its methods for conversations."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import canvasapi
import pytest
from canvasapi.conversation import Conversation
from canvasapi.exceptions import BadRequest, Forbidden, InvalidAccessToken, ResourceDoesNotExist
from canvasapi.progress import Progress

from tests.support.institution import Institution
from tests.support.processes import Client, Installation
from tests.support.school import School, make_school
from tests.support.waiting import PATIENCE

AsUser = Callable[[int], Awaitable[Client]]

# It warns of plain HTTP, which is what a service on the loopback speaks.
pytestmark = pytest.mark.filterwarnings("ignore:Canvas may respond unexpectedly:UserWarning")

USED = {
    "conversations_batch_update",
    "conversations_get_running_batches",
    "conversations_mark_all_as_read",
    "conversations_unread_count",
    "create_conversation",
    "get_conversation",
    "get_conversations",
}
USED_OF_ONE = {"add_message", "add_recipients", "delete", "delete_messages", "edit"}


class Place:
    """A school whose people have clients."""

    def __init__(self, url: str, school: School) -> None:
        self.url = url
        self.school = school

    def canvas(self, user_id: int) -> canvasapi.Canvas:
        """The client of one of them."""
        return canvasapi.Canvas(self.url, f"token-of-{user_id}")


@pytest.fixture
async def place(running: Installation, institution: Institution, as_user: AsUser) -> Place:
    """The service with a worker, and a teacher with four students."""
    school = await make_school(institution, students=4)
    for user_id in (school.teacher, *school.students):
        await as_user(user_id)
    await running.api()
    await running.worker()
    return Place(running.url, school)


def finished(progress: Progress) -> Progress:
    """Asked for over and over, as a client would."""
    end = time.monotonic() + PATIENCE
    while progress.workflow_state not in ("completed", "failed"):
        assert time.monotonic() < end
        progress = progress.query()
    return progress


def test_no_method_is_left_out() -> None:
    """A newer client may have more."""
    of_canvas = {name for name in dir(canvasapi.Canvas) if "conversation" in name}
    of_one = {name for name in vars(Conversation) if not name.startswith("_")}
    of_progress = {name for name in vars(Progress) if not name.startswith("_")}

    assert (of_canvas, of_one, of_progress) == (USED, USED_OF_ONE, {"query"})


async def test_a_conversation_from_its_beginning_to_its_end(place: Place) -> None:
    """create, get, add_message, add_recipients, edit, delete_messages, delete."""
    await asyncio.to_thread(_from_beginning_to_end, place)


def _from_beginning_to_end(place: Place) -> None:
    first, second, third, _ = place.school.students
    teacher, student = place.canvas(place.school.teacher), place.canvas(first)
    (made,) = teacher.create_conversation(
        [str(first), str(second)],
        "We meet at nine.",
        subject="Field trip",
        group_conversation=True,
        context_code=f"course_{place.school.course}",
    )
    assert made.subject == "Field trip"
    assert made.messages[0]["body"] == "We meet at nine."

    received = student.get_conversation(made.id)
    assert (received.workflow_state, received.context_name) == ("read", "Biology")
    answered = received.add_message("I shall be there.")
    assert [m["body"] for m in answered.messages] == ["I shall be there."]
    assert set(received.add_recipients([str(third)]).audience) == {place.school.teacher, second, third}

    assert made.edit(conversation={"starred": True, "workflow_state": "archived"})
    assert (made.starred, made.workflow_state) == (True, "archived")
    assert [c.id for c in teacher.get_conversations(scope="archived")] == [made.id]

    own = [
        m["id"] for m in student.get_conversation(made.id).messages if m["author_id"] == first and not m["generated"]
    ]
    left = received.delete_messages(own)
    assert left["message_count"] == 1

    assert made.delete()
    assert made.message_count == 0
    with pytest.raises(ResourceDoesNotExist):
        teacher.get_conversation(made.id)
    assert student.get_conversation(made.id).message_count == 1


async def test_the_inbox_in_pages(place: Place) -> None:
    """get_conversations, and the unread_count, mark_all_as_read and get_running_batches of conversations."""
    await asyncio.to_thread(_inbox_in_pages, place)


def _inbox_in_pages(place: Place) -> None:
    first = place.school.students[0]
    teacher, student = place.canvas(place.school.teacher), place.canvas(first)
    for number in range(7):
        teacher.create_conversation([str(first)], f"No. {number}", force_new=True)

    assert student.conversations_unread_count() == {"unread_count": "7"}
    listed = list(student.get_conversations(per_page=3, scope="unread", include=["participant_avatars"]))
    assert [c.last_message for c in listed] == [f"No. {number}" for number in reversed(range(7))]
    assert all("avatar_url" in person for c in listed for person in c.participants)
    assert len(list(student.get_conversations(filter=[f"user_{place.school.teacher}"]))) == 7

    assert student.conversations_mark_all_as_read()
    assert student.conversations_unread_count() == {"unread_count": "0"}
    assert teacher.conversations_get_running_batches() == []


async def test_a_batch_update_and_its_progress(place: Place) -> None:
    """conversations_batch_update, query, get_progress."""
    await asyncio.to_thread(_batch_update, place)


def _batch_update(place: Place) -> None:
    teacher = place.canvas(place.school.teacher)
    made = teacher.create_conversation([str(s) for s in place.school.students], "Hello")
    ids = [c.id for c in made]
    assert len(ids) == 4

    progress = teacher.conversations_batch_update(ids, "star")
    assert isinstance(progress, Progress)
    assert progress.tag == "conversation_batch_update"
    done = finished(progress)

    assert (done.workflow_state, done.completion) == ("completed", 100)
    assert teacher.get_progress(progress.id).message == done.message
    assert sorted(c.id for c in teacher.get_conversations(scope="starred")) == sorted(ids)


async def test_recipients_are_found(place: Place) -> None:
    """search_recipients: without a search term it searches for a blank."""
    await asyncio.to_thread(_recipients, place)


def _recipients(place: Place) -> None:
    teacher = place.canvas(place.school.teacher)

    everything: list[Any] = teacher.search_recipients(per_page=50)
    students = teacher.search_recipients(context=f"course_{place.school.course}_students", type="user")
    one = teacher.search_recipients(search=f"User {place.school.students[1]}", type="user")

    assert f"course_{place.school.course}" in [found["id"] for found in everything]
    assert sorted(found["id"] for found in students) == place.school.students
    assert [found["id"] for found in one] == [place.school.students[1]]


async def test_errors_are_the_ones_it_knows(place: Place) -> None:
    """By status and by what it looks for in the body."""
    await asyncio.to_thread(_errors, place)


def _errors(place: Place) -> None:
    teacher, student = place.canvas(place.school.teacher), place.canvas(place.school.students[0])
    (made,) = teacher.create_conversation([str(place.school.students[1])], "For you alone")
    progress = teacher.conversations_batch_update([made.id], "star")

    with pytest.raises(ResourceDoesNotExist):
        student.get_conversation(made.id)
    with pytest.raises(BadRequest, match="blank"):
        teacher.create_conversation([str(place.school.students[0])], " ")
    with pytest.raises(BadRequest, match="filter_mode"):
        list(teacher.get_conversations(filter_mode="xor"))
    with pytest.raises(Forbidden):
        student.get_progress(progress.id)
    with pytest.raises(InvalidAccessToken):
        canvasapi.Canvas(place.url, "unknown-token").conversations_unread_count()
