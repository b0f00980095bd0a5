"""A neighbour's queue that confirms nothing: it delays the events that are routed to it, and no others."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest
from structlog.testing import capture_logs

from deploy.rabbitmq import PrivateRabbitMQ
from service.domain.event_metadata import Cause
from service.runtime import metrics
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient, broker_client
from tests.support.event_consumer import EventConsumer, event_consumer
from tests.support.outbox import record_message
from tests.support.private_servers import resume_queue, suspend_queue
from tests.support.waiting import until
from workers.relay import Relay

CAUSE = Cause({"root_account_id": "1"})
BATCH = '{"batch_id": "7", "state": "sending", "total": "2", "delivered": "1", "failed": "0", "skipped": "0"}'


@pytest.fixture
def here(settings: Settings, server: PrivateRabbitMQ) -> Settings:
    """An installation on the broker whose queues may be stopped."""
    return settings.model_copy(update={"amqp_url": server.url})


@pytest.fixture
async def outside(here: Settings) -> AsyncIterator[BrokerClient]:
    """A client of that broker; the topology is removed in the end."""
    async with broker_client(here) as made:
        yield made
        await made.delete_topology()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that waits for confirms less long, and looks at its lag each time."""
    monkeypatch.setattr("service.runtime.event_publisher.PUBLISH_TIMEOUT", 0.5)
    monkeypatch.setattr("service.runtime.broker.LAST_RETRY", 0.2)
    monkeypatch.setattr("workers.relay.LAG_INTERVAL", 0.0)


@pytest.fixture
async def relay(here: Settings, pool: asyncpg.Pool, outside: BrokerClient) -> AsyncIterator[Relay]:
    """A relay that could begin."""
    made = Relay(here, pool)
    await made.start()
    await until(lambda: made.connected)
    yield made
    await made.drain()


@pytest.mark.usefixtures("impatient")
async def test_one_neighbours_stuck_queue_delays_only_what_it_takes(
    server: PrivateRabbitMQ, outside: BrokerClient, relay: Relay, conn: asyncpg.Connection, here: Settings
) -> None:
    name = f"{here.amqp_prefix}-neighbour"
    queue = await outside.channel.declare_queue(name, durable=True)
    await queue.bind(outside.topology.events, "conversation_message_created")
    await suspend_queue(server, name)

    async with event_consumer(here) as healthy:
        for number in range(40):  # in every lane
            await record_message(conn, CAUSE, number * 2000 + 5, 10**6 + number)
        with capture_logs() as logs:
            work = asyncio.create_task(relay.run())
            await until(lambda: any(line["event"] == "events_not_confirmed" for line in logs))
            for event in ("batch_started", "batch_progress"):
                await conn.execute(
                    "INSERT INTO outbox (lane, event, body, cause) VALUES (16, $1, $2, $3)",
                    event,
                    BATCH,
                    '{"root_account_id": "1"}',
                )
                await healthy.until(partial(_has, event))
        assert await conn.fetchval("SELECT count(*) FROM outbox WHERE lane < 16") == 40
        assert (metrics.WORKER.get_sample_value("clarion_outbox_lag_seconds") or 0) > 0

        noted = [line for line in logs if line["event"] == "events_not_confirmed"]
        assert {event for line in noted for event in line["events"]} == {"conversation_message_created"}
        assert all(outside.topology.events in line["advice"] and "list_bindings" in line["advice"] for line in noted)
        assert {line["error"] for line in noted} <= {"no answer in time"}

        await resume_queue(server, name)
        await until(partial(_is_empty, conn))
    relay.stop()
    await work
    await queue.delete(if_empty=False)


async def _is_empty(conn: asyncpg.Connection) -> bool:
    return bool(await conn.fetchval("SELECT count(*) = 0 FROM outbox"))


def _has(event: str, so_far: EventConsumer) -> bool:
    return any(it.event.name == event for it in so_far.received)
