"""A user of the broker who may not write to the default exchange: requests are carried out, and no answer arrives."""

import asyncio
from functools import partial
from itertools import repeat

import asyncpg
import orjson
import pytest
from structlog.testing import capture_logs

from deploy.rabbitmq import PrivateRabbitMQ
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.private_servers import create_broker_user
from tests.support.request_client import request_client
from tests.support.school import School
from tests.support.waiting import until
from workers.amqp_requests import RequestConsumer


async def test_an_answer_that_is_forbidden_is_given_up_and_the_request_is_not_repeated(
    *,
    settings: Settings,
    server: PrivateRabbitMQ,
    pool: asyncpg.Pool,
    school: School,
    conn: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker closes the channel each time; consuming and commanding go on beside it."""
    monkeypatch.setattr("workers.amqp_requests.pauses", partial(repeat, 0.01))
    monkeypatch.setattr("service.runtime.broker.LAST_RETRY", 0.2)
    names = rf"^{settings.amqp_prefix}\."
    url = await create_broker_user(server, configure=names, write=names, read=names)
    restricted = Settings(**settings.model_dump() | {"amqp_url": url})
    powerful = Settings(**settings.model_dump() | {"amqp_url": server.url})
    publisher = Publisher(restricted, "test")
    consumer = RequestConsumer(restricted, pool, publisher)
    with capture_logs() as logs:
        await asyncio.gather(publisher.broker.start(), consumer.start())
        await until(lambda: consumer.broker.connected)
        async with request_client(powerful) as asking:
            message = {"as_user_id": school.teacher, "recipients": [str(school.students[0])], "body": "Hello"}
            await asking.publish(orjson.dumps({**message, "idempotency_key": "1"}))
            await until(lambda: any(line["event"] == "answer_lost" for line in logs))
            await consumer.drain()
            await asking.waiting(0)
    await publisher.broker.stop()

    assert {line["connection"] for line in logs if line["event"] == "broker_lost"} == {"clarion-answers"}
    assert "ACCESS_REFUSED" in str([line for line in logs if line["event"] in ("broker_lost", "answer_not_published")])
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1
