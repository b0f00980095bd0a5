"""What the institution publishes in its feed holds for the next request (CONTRACT 5), through real processes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.directory_feed import Feed, directory_event, feed
from tests.support.institution import Institution
from tests.support.processes import Client, Installation, Process

AsUser = Callable[[int], Awaitable[Client]]
DAY = 86_400  # seconds


@dataclass
class Town:
    """A course with a teacher and two students, an API, a worker of directory events and their feed."""

    course: int
    teacher: int
    ana: int
    ben: int
    enrolments: list[int]  # of Ana and Ben
    source: Feed
    worker: Process
    published: int = 0

    async def publish(self, name: str, /, **body: Any) -> None:
        """Returns when the worker has committed the event, which happened later than all there is."""
        before = len(self.followed)
        self.published += 1
        await self.source.publish(directory_event(name, DAY + self.published, **body))
        await self.worker.logged('"directory_followed"', times=before + 1)

    async def names(self, reader: Client, conversation_id: int) -> set[str]:
        """Of those in a conversation, as a reader is shown them."""
        status, shown, _ = await reader.call("GET", f"/conversations/{conversation_id}")
        assert status == 200, shown
        return {person["full_name"] for person in shown["participants"]}

    @property
    def followed(self) -> list[str]:
        """The sets the worker has committed, as it logs them."""
        return [line for line in self.worker.lines if '"directory_followed"' in line]


@pytest.fixture
async def town(running: Installation, road_settings: Settings, institution: Institution) -> AsyncIterator[Town]:
    """The two students are active and know each other from nowhere else."""
    course = await institution.course("Biology")
    teacher, ana, ben = [await institution.user(name) for name in ("Teacher", "Ana", "Ben")]
    await institution.enroll(course, teacher, "Teacher")
    enrolments = await institution.enroll(course, [ana, ben])
    await running.api()
    worker = await running.start("worker", "--only", "directory")
    await worker.logged("broker_connected", times=2)
    async with feed(road_settings) as source:
        yield Town(course, teacher, ana, ben, enrolments, source, worker)
    async with broker_client(road_settings) as cleaner:
        await cleaner.delete_topology()


async def write(sender: Client, recipient: int, **more: Any) -> tuple[int, Any]:
    """Status and body of a message to one person."""
    status, body, _ = await sender.call(
        "POST", "/conversations", json={"recipients": [str(recipient)], "body": "Hi"} | more
    )
    return status, body


def refused(answer: tuple[int, Any]) -> bool:
    """No recipient was found who may be written to."""
    status, body = answer
    return status == 400 and body[0]["attribute"] == "recipients"


async def test_people_come_change_and_go(town: Town, as_user: AsUser) -> None:
    teacher, carla = await as_user(town.teacher), await as_user(900)
    enrolment = {"enrollment_id": 1, "course_id": town.course, "user_id": 900}
    assert refused(await write(teacher, 900))

    await town.publish("enrollment_created", **enrolment, type="StudentEnrollment", workflow_state="active")
    await town.publish("user_created", user_id=900, name="Carla", workflow_state="registered")
    status, (made,) = await write(teacher, 900)
    assert status == 201
    assert await town.names(teacher, made["id"]) == {"Teacher", "Carla"}

    await town.publish("user_updated", user_id=900, name="Clara")
    assert await town.names(teacher, made["id"]) == {"Teacher", "Clara"}

    old = "2026-01-01T00:00:00Z"
    await town.publish("user_updated", user_id=900, workflow_state="deleted", name="Outdated", updated_at=old)
    assert await town.names(teacher, made["id"]) == {"Teacher", "Clara"}
    assert (await write(teacher, 900))[0] == 201
    assert (await carla.call("GET", "/conversations"))[0] == 200

    await town.publish("user_updated", user_id=900, workflow_state="deleted")
    assert refused(await write(teacher, 900))
    assert (await carla.call("GET", "/conversations"))[0] == 401


async def test_a_merged_person_goes_on_as_the_target(town: Town, as_user: AsUser) -> None:
    teacher, ana, ben = await as_user(town.teacher), await as_user(town.ana), await as_user(town.ben)
    _, (made,) = await write(teacher, town.ana)

    await town.publish("user_merged", user_id=town.ana, merged_into_user_id=town.ben)

    _, inbox, _ = await ben.call("GET", "/conversations")
    assert [(found["id"], found["last_message"]) for found in inbox] == [(made["id"], "Hi")]
    assert (await ana.call("GET", "/conversations"))[0] == 401


async def test_who_left_and_a_course_that_ended_are_reached_no_more(town: Town, as_user: AsUser) -> None:
    """Each ending is taken back by a newer event."""
    ben = await as_user(town.ben)
    enrolment = {"enrollment_id": town.enrolments[0], "course_id": town.course, "user_id": town.ana}
    endings: list[tuple[str, dict[str, Any], dict[str, str], dict[str, str]]] = [
        ("enrollment_updated", enrolment, {"workflow_state": "completed"}, {"workflow_state": "active"}),
        ("enrollment_updated", enrolment, {"workflow_state": "deleted"}, {"workflow_state": "active"}),
        (
            "enrollment_state_updated",
            {"enrollment_id": f"1{town.enrolments[0]:013}"},
            {"state": "completed"},
            {"state": "active"},
        ),
        (
            "course_updated",
            {"course_id": town.course},
            {"workflow_state": "completed"},
            {"workflow_state": "available"},
        ),
    ]
    for event, which, ended, taken_back in endings:
        assert (await write(ben, town.ana))[0] == 201, event
        await town.publish(event, **which, **ended)
        assert refused(await write(ben, town.ana)), event
        await town.publish(event, **which, **taken_back)
    assert (await write(ben, town.ana))[0] == 201
