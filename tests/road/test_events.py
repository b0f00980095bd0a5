"""What a consumer receives of bulk sends (CONTRACT 4, canvas/events.md 1 and 2), through real processes."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from service.contracts.events import BatchBody, ConversationCreated, MessageCreated
from service.runtime.settings import Settings
from tests.support.batches import refused
from tests.support.broker import broker_client
from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.directory_feed import directory_event, feed
from tests.support.event_consumer import EventConsumer, ReceivedEvent, event_consumer
from tests.support.institution import Institution
from tests.support.processes import Client, Installation
from tests.support.school import School, make_school

AsUser = Callable[[int], Awaitable[Client]]

STUDENTS = 60
CHUNK = 20
OF_JOBS = {"job_id", "job_tag"}
OF_COPIES = {"batch_id", "recipient_id"}
OF_ACCOUNTS = {"root_account_id", "root_account_uuid"}
OF_ALL = {"event_name", "event_time", "message_id", "producer"}


@pytest.fixture
def road_settings(road_settings: Settings) -> Settings:
    """A chunk that fails is given up soon."""
    return road_settings.model_copy(update={"retry_after": 0.05, "sweep_interval": 0.05})


@pytest.fixture
async def course(institution: Institution) -> School:
    """Few enough for a bulk send into private threads."""
    return await make_school(institution, STUDENTS)


@pytest.fixture
async def consumer(running: Installation, course: School) -> AsyncIterator[EventConsumer]:
    """Receives every event of an installation at work, which knows the account of the course."""
    async with event_consumer(running.settings) as listening, feed(running.settings) as source:
        await running.api()
        worker = await running.worker()
        await source.publish(directory_event("account_updated", account_id=1, root_account_uuid="a-1"))
        await worker.logged('"directory_followed"')
        yield listening
    async with broker_client(running.settings) as cleaner:
        await cleaner.delete_topology()


def private(course: School, mode: str) -> dict[str, object]:
    """A send to each of the course, in a thread that there is or that is opened."""
    code = f"course_{course.course}"
    return {"recipients": [code], "body": "We meet at nine.", "mode": mode, "context_code": code}


async def send(teacher: Client, course: School) -> int:
    """Posts an asynchronous send and follows it to its end; the id of the batch."""
    status, _, headers = await teacher.call("POST", "/conversations", json=private(course, "async"))
    assert status == 202
    return int((await teacher.sent(headers["X-Conversation-Batch-Id"]))["id"])


def names(received: Sequence[ReceivedEvent]) -> Counter[str]:
    """How many of each event."""
    return Counter(one.event.name for one in received)


def of_batch(received: Sequence[ReceivedEvent]) -> list[tuple[str, dict[str, Any]]]:
    """Name and body of each event of a batch, in order."""
    return [(one.event.name, one.event.body.model_dump()) for one in received if isinstance(one.event.body, BatchBody)]


def of_batch_with(batch_id: int, state: str, **counts: int) -> dict[str, str]:
    """The body of such an event: ids and counts are text."""
    all_counts = {"total": STUDENTS, "delivered": 0, "failed": 0, "skipped": 0} | counts
    return {"batch_id": str(batch_id), "state": state} | {name: str(count) for name, count in all_counts.items()}


def went_well(batch_id: int) -> list[tuple[str, dict[str, str]]]:
    """Three chunks, of which the first begins it and the last ends it."""
    return [
        ("batch_started", of_batch_with(batch_id, "sending", delivered=20)),
        ("batch_progress", of_batch_with(batch_id, "sending", delivered=20)),
        ("batch_progress", of_batch_with(batch_id, "sending", delivered=40)),
        ("batch_finished", of_batch_with(batch_id, "sent", delivered=60)),
    ]


def assert_opened_once(received: Sequence[ReceivedEvent], conversation_ids: set[int]) -> None:
    """Each conversation has one event of its creation, before that of its one message."""
    published: dict[int, list[str]] = {}
    for one in received:
        if isinstance(one.event, (ConversationCreated, MessageCreated)):
            published.setdefault(int(one.event.body.conversation_id), []).append(one.event.name)
    assert published == {
        opened: ["conversation_created", "conversation_message_created"] for opened in conversation_ids
    }


def assert_caused_by_jobs(received: Sequence[ReceivedEvent]) -> None:
    """By three commands to deliver, and no request (canvas/events.md 1.1)."""
    metadata = [one.event.metadata.model_dump(exclude_none=True, exclude=OF_COPIES) for one in received]
    assert {frozenset(keys) for keys in metadata} == {frozenset(OF_ALL | OF_ACCOUNTS | OF_JOBS)}
    copies = [one.event.metadata for one in received if isinstance(one.event, MessageCreated)]
    assert len({copy.recipient_id for copy in copies}) == STUDENTS
    assert len({copy.batch_id for copy in copies}) == 1
    assert {keys["root_account_uuid"] for keys in metadata} == {"a-1"}
    assert {keys["job_tag"] for keys in metadata} == {"deliver"}
    assert len({keys["job_id"] for keys in metadata}) == STUDENTS // CHUNK


async def conversations(conn: asyncpg.Connection) -> set[int]:
    """All there are."""
    return {row["id"] for row in await conn.fetch("SELECT id FROM conversations")}


async def test_events_of_two_bulk_sends_to_a_course_name_their_jobs(
    consumer: EventConsumer, course: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """The first opens a thread with everybody, the second writes into them."""
    teacher = await as_user(course.teacher)

    first = await send(teacher, course)
    received = await consumer.everything(conn)

    await assert_delivered_once(conn, first, course.students)
    opened = await conversations(conn)
    assert len(opened) == STUDENTS
    assert of_batch(received) == went_well(first)
    assert_opened_once(received, opened)
    assert len(received) == 2 * STUDENTS + 4
    assert_caused_by_jobs(received)

    second = await send(teacher, course)
    received = await consumer.everything(conn)

    assert of_batch(received) == went_well(second)
    assert await conversations(conn) == opened
    messages = [one.event.body for one in received if isinstance(one.event, MessageCreated)]
    written = await conn.fetch(
        "SELECT conversation_id, id FROM conversation_messages WHERE id <> ALL ($1)", list(opened)
    )
    assert sorted((int(b.conversation_id), int(b.message_id)) for b in messages) == sorted(map(tuple, written))
    assert {body.author_id for body in messages} == {str(course.teacher)}
    assert names(received) == {"conversation_message_created": STUDENTS} | Counter(n for n, _ in went_well(second))
    assert_caused_by_jobs(received)


async def test_events_of_a_bulk_send_written_at_once_name_its_request(
    consumer: EventConsumer, course: School, as_user: AsUser, running: Installation, conn: asyncpg.Connection
) -> None:
    teacher = await as_user(course.teacher)

    headers = {"User-Agent": "curl/8", "Referer": "https://school.example/inbox"}
    status, _, answered = await teacher.call("POST", "/conversations", json=private(course, "sync"), headers=headers)
    assert status == 201
    received = await consumer.everything(conn)

    assert_opened_once(received, await conversations(conn))
    assert of_batch(received) == went_well(await conn.fetchval("SELECT id FROM batches"))
    assert len(received) == 2 * STUDENTS + 4
    global_id = str(10**13 + course.teacher)
    common = [one.event.metadata.model_dump(exclude_none=True, exclude=OF_ALL | OF_COPIES) for one in received]
    assert all(metadata == common[0] for metadata in common)
    assert common[0] == {
        "root_account_id": "10000000000001",
        "root_account_uuid": "a-1",
        "user_id": global_id,
        "user_account_id": "10000000000001",
        "context_type": "User",
        "context_id": global_id,
        "user_agent": "curl/8",
        "client_ip": "127.0.0.1",
        "hostname": "127.0.0.1",
        "http_method": "POST",
        "url": f"{running.url}/api/v1/conversations",
        "referrer": "https://school.example/inbox",
        "request_id": answered["X-Request-Context-Id"],
    }


async def test_a_batch_with_a_recipient_who_fails_for_good_is_published_as_failed(
    consumer: EventConsumer, course: School, as_user: AsUser, conn: asyncpg.Connection
) -> None:
    """The events of all that was delivered come first, with counts that grow; the last one is that of the failure."""
    async with refused(conn, f"NEW.user_id = {course.students[0]}"):
        batch_id = await send(await as_user(course.teacher), course)
        received = await consumer.everything(conn)

    published = of_batch(received)
    assert [name for name, _ in published[:-1]] == ["batch_started"] + ["batch_progress"] * (len(published) - 2)
    assert published[-1] == ("batch_failed", of_batch_with(batch_id, "error", delivered=STUDENTS - 1, failed=1))
    delivered = [int(body["delivered"]) for _, body in published[1:-1]]
    assert delivered == sorted(set(delivered))
    assert delivered[-1] == STUDENTS - 1
    assert len(await conversations(conn)) == STUDENTS - 1
    assert_opened_once(received, await conversations(conn))
