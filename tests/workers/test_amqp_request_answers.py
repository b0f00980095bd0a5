"""What other services are answered, and what happens when no queue takes the answer."""

import re
from functools import partial
from itertools import repeat
from typing import Any

import aio_pika
import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from service.contracts.requests import MAX_ANSWER_BYTES
from service.runtime import metrics
from service.runtime.answer_publisher import AnswerPublisher
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient
from tests.support.institution import Institution
from tests.support.request_client import RequestClient
from tests.support.request_messages import Requesting, count, request, written
from tests.support.school import School
from tests.support.waiting import until
from workers.amqp_requests import ATTEMPTS, RequestConsumer
from workers.idempotency_keys import KeySweeper


@pytest.fixture
def sweepers(settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> list[KeySweeper]:
    """Two of them, of two workers."""
    return [KeySweeper(settings, pool, publisher) for _ in range(2)]


async def test_a_request_for_an_unknown_user_is_answered_like_an_unknown_as_user_id_and_not_kept(
    requesting: Requesting, asking: RequestClient, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    gone = await institution.user(state="deleted")
    async with requesting():
        for unknown in (gone, 10**9, "self", "uuid:none", "sis_user_id:", "9" * 40, "\U0001f600"):
            answer = await asking.ask(request(school, as_user_id=unknown))
            assert (answer.status, answer.body) == (401, {"errors": "Invalid as_user_id"})

    assert await count(conn, "idempotency_keys") == 0


async def test_the_fake_student_may_not(
    requesting: Requesting, asking: RequestClient, school: School, institution: Institution
) -> None:
    viewing = await institution.user()
    await institution.enroll(school.course, viewing, "StudentView")
    async with requesting():
        answer = await asking.ask(request(school, as_user_id=viewing, recipients=[str(school.teacher)]))

    assert answer.status == 403
    assert answer.body["status"] == "unauthorized"


@pytest.mark.parametrize("named_by", ["course", "group"])
async def test_a_concluded_course_is_refused_as_over_http(
    *, requesting: Requesting, asking: RequestClient, school: School, institution: Institution, named_by: str
) -> None:
    """CONTRACT 6.15"""
    over = await institution.course(state="completed")
    await institution.enroll(over, [school.teacher, school.students[0]], "Teacher")
    group = await institution.group(course=over, members=[school.teacher, school.students[0]])
    code = f"course_{over}" if named_by == "course" else f"group_{group}"
    async with requesting():
        answer = await asking.ask(request(school, context_code=code, recipients=[str(school.students[0])]))

    assert (answer.status, answer.body) == (
        400,
        [{"attribute": "Course concluded", "message": "Unable to send messages"}],
    )


MALFORMED = {
    b"": "The JSON body is malformed.",
    b"\xff{}": "The JSON body is malformed.",
    b"[]": "The JSON body must be an object.",
    b'{"as_user_id": 1, "idempotency_key": "k\\u0000"}': "Parameters must not contain NUL bytes.",
    b'{"idempotency_key": "k"}': "as_user_id: is missing",
    b'{"as_user_id": [1], "idempotency_key": "k"}': "as_user_id: is no text",
    b'{"as_user_id": 1, "idempotency_key": "k", "version": 2}': (
        "version: version 2 is not known to this release, which reads 1"
    ),
    b'{"as_user_id": 1, "idempotency_key": "k", "a":' + b"[" * 40 + b"]" * 40 + b"}": (
        "Parameters are nested more than 32 deep."
    ),
}


async def test_what_cannot_be_read_is_answered_and_goes_to_the_dead_letters_with_its_reason(
    requesting: Requesting, asking: RequestClient, school: School, outside: BrokerClient
) -> None:
    async with requesting():
        for body, reason in MALFORMED.items():
            answer = await asking.ask(body)
            assert (answer.status, answer.body) == (400, {"errors": [{"message": reason}]})
            (letter,) = await outside.dead_letters(1)
            assert (letter.body, letter.reason) == (body, f"not a request: {reason}")
        await asking.publish(b"{", reply_to=None)
        await outside.dead_letters(1)
        assert (await asking.ask(request(school))).status == 201

    await asking.waiting(0)


KEYLESS = {
    b'{"as_user_id": 1}': "idempotency_key: is missing",
    b'{"as_user_id": 1, "idempotency_key": ""}': "idempotency_key: is empty",
    b'{"as_user_id": 1, "idempotency_key": null}': "idempotency_key: is no text",
    b'{"as_user_id": 1, "idempotency_key": ["k"]}': "idempotency_key: is no text",
    b'{"as_user_id": 1, "idempotency_key": "%s"}' % (b"k" * 256): "idempotency_key: is longer than 255 characters",
    b"{}": "as_user_id: is missing; idempotency_key: is missing",
}


async def test_without_a_usable_key_it_is_answered_or_where_it_cannot_be_a_dead_letter(
    requesting: Requesting, asking: RequestClient, school: School, outside: BrokerClient
) -> None:
    async with requesting():
        for body, reason in KEYLESS.items():
            answer = await asking.ask(body)
            assert (answer.status, answer.body) == (400, {"errors": [{"message": reason}]})
        for body, reason in KEYLESS.items():
            await asking.publish(body, reply_to=None)
            (letter,) = await outside.dead_letters(1)
            assert (letter.body, letter.reason) == (body, f"not a request: {reason}")
        assert (await asking.ask(request(school))).status == 201

    await asking.waiting(0)


@pytest.mark.parametrize("own", ["requests", "commands.plan", "dead", "directory", "answers-of-others"])
async def test_no_answer_goes_to_a_queue_of_clarions_own(
    *,
    requesting: Requesting,
    asking: RequestClient,
    school: School,
    settings: Settings,
    outside: BrokerClient,
    conn: asyncpg.Connection,
    own: str,
) -> None:
    """Nothing is carried out, neither a good request nor one that would be refused."""
    queue = f"{settings.amqp_prefix}.{own}"
    async with requesting():
        for body in (orjson.dumps(request(school)), b"{}"):
            await asking.publish(body, reply_to=queue)
            (letter,) = await outside.dead_letters(1)
            assert (letter.body, letter.reason) == (
                body,
                f"answers may not go to the queue '{queue}' (CLARION_REPLY_TO)",
            )
        assert (await asking.ask(request(school))).status == 201

    assert await count(conn, "sends") == 1


async def test_answers_go_only_to_queues_that_the_setting_names(
    *,
    pool: asyncpg.Pool,
    publisher: Publisher,
    asking: RequestClient,
    school: School,
    settings: Settings,
    outside: BrokerClient,
    conn: asyncpg.Connection,
) -> None:
    """By their whole names."""
    named = settings.model_copy(update={"reply_to": re.escape(asking.queue)})
    consumer = RequestConsumer(named, pool, publisher)
    await consumer.start()
    for queue in (f"{asking.queue}.other", f"other.{asking.queue}", "unknown"):
        await asking.publish(orjson.dumps(request(school)), reply_to=queue)
        (letter,) = await outside.dead_letters(1)
        assert letter.reason == f"answers may not go to the queue '{queue}' (CLARION_REPLY_TO)"
    assert (await asking.ask(request(school))).status == 201
    await consumer.drain()

    assert await count(conn, "sends") == 1


async def test_what_is_too_long_for_http_is_too_long_here(
    requesting: Requesting, asking: RequestClient, school: School, settings: Settings, outside: BrokerClient
) -> None:
    body = orjson.dumps(request(school, body="x" * settings.max_body_bytes))
    async with requesting():
        answer = await asking.ask(body)
        (letter,) = await outside.dead_letters(1)

    assert (answer.status, answer.body) == (413, {"errors": [{"message": "The request is too large."}]})
    assert letter.reason == f"not a request: longer than {settings.max_body_bytes} bytes"


async def test_without_reply_to_it_is_sent_all_the_same(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection
) -> None:
    async with requesting():
        await asking.publish(orjson.dumps(request(school)), reply_to=None)
        await until(lambda: written(conn, 1))

    await asking.waiting(0)
    assert asking.answers == []


async def test_an_answer_for_a_queue_that_is_gone_is_counted_and_not_repeated(
    requesting: Requesting,
    asking: RequestClient,
    school: School,
    conn: asyncpg.Connection,
) -> None:
    counter = metrics.ANSWERS_LOST.labels("unroutable")
    before = counter._value.get()
    with capture_logs() as logs:
        async with requesting():
            await asking.publish(orjson.dumps(request(school)), reply_to="no-such-queue")
            await until(lambda: any(line["event"] == "answer_lost" for line in logs))

    assert counter._value.get() == before + 1
    assert await count(conn, "sends") == 1
    await asking.waiting(0)


async def test_an_answer_that_a_queue_refuses_is_given_up_after_some_attempts(
    requesting: Requesting, asking: RequestClient, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.amqp_requests.pauses", partial(repeat, 0.001))
    full: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = await asking.channel.declare_queue(exclusive=True, arguments=full)
    await asking.channel.default_exchange.publish(aio_pika.Message(b"full"), queue.name)
    with capture_logs() as logs:
        async with requesting():
            await asking.publish(orjson.dumps(request(school)), reply_to=queue.name)
            await until(lambda: any(line["event"] == "answer_lost" for line in logs))
            assert (await asking.ask(request(school))).replayed

    assert [line["reason"] for line in logs if line["event"] == "answer_lost"] == ["not confirmed"]
    await asking.waiting(0)


async def test_an_answer_waits_for_a_broker_that_is_away_however_often_it_is_tried(
    *,
    requesting: Requesting,
    asking: RequestClient,
    school: School,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.amqp_requests.pauses", partial(repeat, 0.001))
    nowhere = settings.model_copy(update={"amqp_url": "amqp://127.0.0.1:1/"})
    with capture_logs() as logs:
        async with requesting() as (consumer,):
            there, consumer._answers = consumer._answers, AnswerPublisher(nowhere, "away")
            await asking.publish(orjson.dumps(request(school)))
            await until(lambda: sum(line["event"] == "answer_not_published" for line in logs) > 2 * ATTEMPTS)
            consumer._answers = there
            await until(lambda: len(asking.answers) == 1)

    assert asking.answers[0].status == 201
    assert [line for line in logs if line["event"] == "answer_lost"] == []


async def test_direct_reply_to_is_answered(
    requesting: Requesting, asking: RequestClient, school: School, settings: Settings
) -> None:
    """RabbitMQ's own way to receive answers without a queue."""
    queue = await asking.channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
    async with requesting():
        await queue.consume(asking.take_unacknowledged, no_ack=True)
        await asking.publish(orjson.dumps(request(school)), reply_to="amq.rabbitmq.reply-to", correlation_id="7")
        await until(lambda: len(asking.answers) == 1)

    assert (asking.answers[0].status, asking.answers[0].correlation_id) == (201, "7")


async def test_an_answer_no_message_can_carry_goes_without_its_body(
    requesting: Requesting, asking: RequestClient, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.amqp_requests.MAX_ANSWER_BYTES", 100)
    async with requesting():
        answers = [await asking.ask(request(school)) for _ in range(2)]

    assert [(answer.status, answer.body) for answer in answers] == [(201, None)] * 2
    assert [answer.headers["Body-Omitted"].endswith(" bytes") for answer in answers] == [True] * 2
    assert MAX_ANSWER_BYTES < 16 * 2**20  # RabbitMQ 4 takes no more


async def test_a_consumer_whose_connection_broke_before_the_answer_answers_again(
    requesting: Requesting,
    asking: RequestClient,
    school: School,
    conn: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Committed and not answered: the redelivery finds the key."""
    async with requesting() as (consumer,):
        answers = consumer._answers.publish

        async def break_first(*arguments: Any, **named: Any) -> bool:
            monkeypatch.setattr(consumer._answers, "publish", answers)
            consumer.broker.end_session("test")
            raise ConnectionResetError

        monkeypatch.setattr(consumer._answers, "publish", break_first)
        answer = await asking.ask(request(school))

    assert (answer.status, answer.replayed) == (201, True)
    assert await count(conn, "sends") == 1


async def test_a_fault_of_ours_is_answered_like_http_and_goes_to_the_dead_letters(
    requesting: Requesting, asking: RequestClient, school: School, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    await conn.execute("ALTER TABLE sends ADD CONSTRAINT no_hellos CHECK (body <> 'Hello')")
    try:
        async with requesting():
            answer = await asking.ask(request(school))
            (letter,) = await outside.dead_letters(1)
    finally:
        await conn.execute("ALTER TABLE sends DROP CONSTRAINT no_hellos")

    assert answer.status == 500
    assert answer.body["errors"] == [{"message": "An error occurred.", "error_code": "internal_server_error"}]
    assert letter.reason.startswith("CheckViolationError: ")
    assert await count(conn, "idempotency_keys") == 0
