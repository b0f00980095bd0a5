"""Requests of other services, carried out once for each key, whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from service.runtime.postgres import create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import outbox
from tests.support.broker import BrokerClient
from tests.support.institution import Institution
from tests.support.request_client import RequestClient
from tests.support.request_messages import Requesting, count, request
from tests.support.school import School
from tests.support.waiting import until
from workers.idempotency_keys import KeySweeper


@pytest.fixture
def sweepers(settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> list[KeySweeper]:
    """Two of them, of two workers."""
    return [KeySweeper(settings, pool, publisher) for _ in range(2)]


@pytest.fixture
async def away(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """A pool for a database that is not there."""
    nowhere = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    made = await create_pool(nowhere)
    yield made
    await made.close()


async def test_a_message_is_sent_and_the_answer_says_so(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    async with requesting():
        answer = await asking.ask(request(school))

    assert answer.status == 201
    (made,) = answer.body
    assert (made["audience"], made["messages"][0]["body"]) == ([school.students[0]], "Hello")
    assert not answer.replayed
    assert [tuple(row) for row in await conn.fetch("SELECT author_id, body FROM sends")] == [(school.teacher, "Hello")]
    await asking.waiting(0)


async def test_global_ids_of_this_installation_are_understood_and_no_others(
    requesting: Requesting, asking: RequestClient, school: School
) -> None:
    def long(id_: int, shard: int = 1) -> str:
        return str(shard * 10**13 + id_)

    course, student = school.course, school.students[0]
    own: dict[str, Any] = {"recipients": [long(student)], "context_code": f"course_1~{course}"}
    async with requesting():
        answer = await asking.ask(request(school, "own", as_user_id=long(school.teacher), **own))
        assert (answer.status, answer.body[0]["audience"]) == (201, [student])
        assert answer.body[0]["context_code"] == f"course_{course}"
        answer = await asking.ask(request(school, "other sender", as_user_id=long(school.teacher, 2)))
        assert (answer.status, answer.body) == (401, {"errors": "Invalid as_user_id"})
        answer = await asking.ask(request(school, "other recipient", recipients=[long(student, 2)]))
        assert (answer.status, answer.body) == (400, [{"attribute": "recipients", "message": "invalid"}])


async def test_one_may_be_tried_before_and_start_later(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    tomorrow = (await conn.fetchval("SELECT now() + interval '1 day'")).isoformat()
    async with requesting():
        tried = await asking.ask(request(school, "tried", dry_run=True))
        assert (tried.status, tried.body["kind"], tried.body["total"]) == (200, "private", 1)
        assert await count(conn, "sends") == 0
        later = await asking.ask(request(school, "later", send_at=tomorrow))
        assert (later.status, later.body) == (202, [])
        wrong = await asking.ask(request(school, "wrong", send_at="tomorrow"))
        assert (wrong.status, wrong.body) == (400, [{"attribute": "send_at", "message": "invalid"}])

    assert await conn.fetchval("SELECT state FROM batches") == "scheduled"
    assert await count(conn, "conversations") == 0


async def test_asked_again_it_answers_as_before_and_sends_nothing(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    """Keys in another order, the user by another name: it is the same request."""
    again = dict(reversed(request(school).items())) | {"as_user_id": f"uuid:uuid-{school.teacher}", "version": 1}
    async with requesting():
        first = await asking.ask(request(school))
        second = await asking.ask(again)

    assert (second.status, second.body, second.replayed) == (first.status, first.body, True)
    assert await count(conn, "sends") == 1


async def test_another_request_under_the_key_is_refused_and_the_first_answer_stays(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    async with requesting():
        first = await asking.ask(request(school))
        other = await asking.ask(request(school, body="Goodbye"))
        again = await asking.ask(request(school))

    assert other.status == 422
    assert other.body == [{"attribute": "idempotency_key", "message": "used for another request"}]
    assert (again.body, again.replayed) == (first.body, True)
    assert await count(conn, "sends") == 1


async def test_a_key_is_one_users(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    to_teacher = request(school, as_user_id=school.students[1], recipients=[str(school.teacher)])
    async with requesting():
        answers = await asking.ask_all(request(school), to_teacher)

    assert [(answer.status, answer.replayed) for answer in answers] == [(201, False)] * 2
    assert await count(conn, "sends") == 2


async def test_of_many_with_one_key_at_once_one_is_sent_and_all_are_answered(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    async with requesting(workers=2):
        for number in range(5):
            answers = await asking.ask_all(*[request(school, f"key {number}")] * 8)
            assert len({orjson.dumps(answer.body) for answer in answers}) == 1
            assert {answer.status for answer in answers} == {201}
            assert sum(not answer.replayed for answer in answers) == 1

    assert await count(conn, "sends") == 5


async def test_of_two_requests_with_one_key_at_once_the_second_is_refused(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    async with requesting(workers=2):
        answers = await asking.ask_all(request(school), request(school, body="Goodbye"))

    assert sorted(answer.status for answer in answers) == [201, 422]
    assert await count(conn, "sends") == 1


async def test_an_asynchronous_bulk_send_is_accepted_once_and_commanded(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    bulk: dict[str, Any] = {"recipients": [f"course_{school.course}"], "group_conversation": True, "bulk_message": True}
    async with requesting():
        first = await asking.ask(request(school, mode="async", **bulk))
        again = await asking.ask(request(school, mode="async", **bulk))

    (batch,) = await conn.fetch("SELECT id, total, state FROM batches")
    assert tuple(batch)[1:] == (250, "created")
    for answer in (first, again):
        assert (answer.status, answer.body) == (202, [])
        assert answer.headers["X-Conversation-Batch-Id"] == str(batch["id"])
    assert (first.replayed, again.replayed) == (False, True)
    await outside.waiting("plan", 1)


async def test_a_bulk_send_whose_command_is_lost_is_accepted_all_the_same(
    *,
    requesting: Requesting,
    asking: RequestClient,
    school: School,
    conn: asyncpg.Connection,
    outside: BrokerClient,
    publisher: Publisher,
) -> None:
    """A sweeper finds the batch."""
    await outside.channel.queue_delete(outside.topology.command_queue("plan"))
    bulk: dict[str, Any] = {"recipients": [f"course_{school.course}"], "group_conversation": True, "bulk_message": True}
    with capture_logs() as logs:
        async with requesting():
            answer = await asking.ask(request(school, mode="async", **bulk))
            await until(lambda: publisher.connected)  # it declares the queue again

    assert (answer.status, answer.replayed) == (202, False)
    assert await count(conn, "batches") == 1
    assert [line["event"] for line in logs].count("command_not_published") == 1


async def test_a_refusal_is_kept_and_nothing_else_of_it(
    requesting: Requesting, asking: RequestClient, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    """A stored 4xx is replayed (CONTRACT 3.2), whatever has changed meanwhile."""
    unrelated = await institution.user()
    unknown = request(school, recipients=[str(unrelated)])
    async with requesting():
        first = await asking.ask(unknown)
        await institution.enroll(school.course, unrelated)
        again = await asking.ask(unknown)
        under_another_key = await asking.ask({**unknown, "idempotency_key": "second"})

    assert (first.status, first.body) == (400, [{"attribute": "recipients", "message": "invalid"}])
    assert (again.status, again.body, again.replayed) == (400, first.body, True)
    assert under_another_key.status == 201
    assert await count(conn, "sends") == 1


async def test_requests_wait_for_a_database_that_is_away(
    requesting: Requesting, asking: RequestClient, school: School, away: asyncpg.Pool, conn: asyncpg.Connection
) -> None:
    with capture_logs() as logs:
        async with requesting(pool=away):
            await asking.publish(orjson.dumps(request(school)))
            await until(lambda: sum(line["event"] == "command_held" for line in logs) >= 2)

    await asking.waiting(1)
    assert asking.answers == []
    async with requesting():
        await until(lambda: len(asking.answers) == 1)
    assert asking.answers[0].status == 201
    assert await count(conn, "sends") == 1


async def test_a_connection_lost_in_the_middle_is_only_a_delay(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    """The transaction waits for a lock, its connection is cut, and another one does it all."""

    async def blocked() -> list[int]:
        found = await conn.fetch(
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE NOT l.granted AND l.relation = 'sends'::regclass AND d.datname = current_database()"
        )
        return [row["pid"] for row in found]

    async def is_blocked() -> bool:
        return bool(await blocked())

    async with requesting():
        await conn.execute("BEGIN; LOCK TABLE sends IN SHARE MODE")
        waiting = asyncio.create_task(asking.ask(request(school)))
        await until(is_blocked)
        await conn.execute("SELECT pg_terminate_backend($1)", (await blocked())[0])
        await conn.execute("ROLLBACK")
        answer = await waiting

    assert (answer.status, answer.replayed) == (201, False)
    assert await count(conn, "sends") == 1


async def test_events_carry_the_request_as_their_job_and_its_trace(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with requesting():
        body = orjson.dumps(request(school))
        await asking.publish(body, message_id="of-another-service", headers={"traceparent": traceparent})
        await until(lambda: len(asking.answers) == 1)

    async with conn.transaction():
        taken = await outbox.take_events(conn, patience=timedelta(), copies=10, rows=10)
    assert taken is not None
    events = [event for row in taken.rows for event in row.events()]
    assert [event.name for event in events] == ["conversation_created", "conversation_message_created"]
    for event in events:
        metadata = orjson.loads(event.body)["metadata"]
        assert (metadata["job_id"], metadata["job_tag"]) == ("of-another-service", "conversation.create")
        assert (event.traceparent or "").startswith(traceparent[:35])
    assert str(asking.answers[0].headers["traceparent"]).startswith(traceparent[:35])


async def test_keys_are_forgotten_after_their_day(
    requesting: Requesting,
    asking: RequestClient,
    school: School,
    sweepers: list[KeySweeper],
    conn: asyncpg.Connection,
) -> None:
    async with requesting():
        await asking.ask_all(request(school, "old"), request(school, "young"))
        age = "UPDATE idempotency_keys SET created_at = now() - $2::interval WHERE key = $1"
        await conn.execute(age, "old", timedelta(hours=24, seconds=1))
        await conn.execute(age, "young", timedelta(hours=23, minutes=59))
        assert [await sweeper.sweep() for sweeper in sweepers] == [1, 0]
        answers = await asking.ask_all(request(school, "old"), request(school, "young"))

    assert [answer.replayed for answer in answers] == [False, True]
    assert await count(conn, "sends") == 3


async def test_sweepers_that_meet_take_different_keys(sweepers: list[KeySweeper], conn: asyncpg.Connection) -> None:
    await conn.execute(
        "INSERT INTO idempotency_keys (user_id, key, fingerprint, created_at, status, headers, body)"
        " SELECT 1, n::text, '', now() - interval '2 days', 201, '{}', '[]' FROM generate_series(1, 3000) n"
    )
    swept = await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))

    assert sum(swept) == 3000
    assert await count(conn, "idempotency_keys") == 0
