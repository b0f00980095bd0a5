"""What a gateway says of the installation as a whole: what waits in the database and on the broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from math import isnan
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service.api.app import build_app
from service.contracts.commands import PlanBatch
from service.contracts.topology import Topology
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.backlog import KINDS
from sql.stuck import Stuck
from tests.support.batches import Batches
from tests.support.broker import BrokerClient, broker_client
from tests.support.databases import with_port
from tests.support.figures import growth
from tests.support.gateway import publishing, publishing_nowhere
from tests.support.ledger import new_prefix
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.waiting import until
from workers.consumer import Consumer
from workers.outcome import Done

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]
Figures = dict[tuple[str, str], float]

ALL = (
    *(("clarion_backlog", kind) for kind in KINDS),
    *(("clarion_backlog_age_seconds", kind) for kind in KINDS),
    *(("clarion_stuck", kind) for kind in Stuck._fields),
    ("clarion_outbox_lag_seconds", ""),
)


async def shown(client: aiohttp.ClientSession) -> Figures:
    """Each figure of /metrics by its name and its one label."""
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        families = text_string_to_metric_families(await answer.text())
    return {(s.name, next(iter(s.labels.values()), "")): s.value for family in families for s in family.samples}


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation whose queues no other test shares, and whose figures are read for each answer."""
    monkeypatch.setattr("service.api.figures.STUCK_INTERVAL", 0.0)
    return settings.model_copy(update={"amqp_prefix": new_prefix(), "sweep_interval": 0.001})


@pytest.fixture
async def operator(settings: Settings) -> AsyncIterator[BrokerClient]:
    """A client of the broker; the queues are removed in the end."""
    async with broker_client(settings) as made:
        yield made
        await made.delete_topology()


@pytest.fixture
async def broker(settings: Settings, operator: BrokerClient) -> AsyncIterator[Publisher]:
    """The gateway's connection."""
    async with publishing(settings) as made:
        yield made


async def test_it_knows_what_waits_in_the_database(
    settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve, conn: asyncpg.Connection
) -> None:
    await Batches(conn).accept(range(10, 20), chunk_size=2)
    await conn.execute("UPDATE batches SET delivered = 4, created_at = now() - interval '2 h'")
    await conn.execute("UPDATE chunks SET updated_at = now() - interval '2 h', due_at = now() - interval '2 h'")
    client = await serve(build_app(settings, pool, broker))

    found = await shown(client)

    assert found["clarion_backlog", "recipients"] == 6
    assert found["clarion_backlog_age_seconds", "recipients"] >= 7200
    assert found["clarion_stuck", "sending"] == 1
    assert found["clarion_outbox_lag_seconds", ""] == 0
    assert [figure for figure in ALL if isnan(found[figure])] == []


async def test_it_knows_what_is_in_the_queues_and_who_consumes(
    settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve, operator: BrokerClient
) -> None:
    client = await serve(build_app(settings, pool, broker))
    queues = {queue.name for queue in Topology(settings.amqp_prefix).queues}
    plan, deliver, dead = (f"{settings.amqp_prefix}.{name}" for name in ("commands.plan", "commands.deliver", "dead"))
    await broker.command(PlanBatch(batch_id=1))
    await operator.publish(b"no command", key="deliver")

    async def counted() -> bool:
        found = await shown(client)
        assert {label for name, label in found if name == "clarion_queue_messages"} >= queues
        return found["clarion_queue_messages", plan] == found["clarion_queue_messages", deliver] == 1

    await until(counted)
    assert (await shown(client))["clarion_queue_consumers", plan] == 0

    async def handle(_: object) -> Done:
        return Done()

    consumer = Consumer(settings, PlanBatch, handle, broker)
    await consumer.broker.start()

    async def consumed() -> bool:
        found = await shown(client)
        return (found["clarion_queue_messages", plan], found["clarion_queue_consumers", plan]) == (0, 1)

    await until(consumed)
    await consumer.drain()
    assert (await shown(client))["clarion_queue_messages", dead] == 0


async def test_a_queue_that_is_gone_is_unknown_and_the_others_are_not(
    settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve, operator: BrokerClient
) -> None:
    """Nor does looking for it end the connection."""
    client = await serve(build_app(settings, pool, broker))
    gone, there = f"{settings.amqp_prefix}.commands.plan", f"{settings.amqp_prefix}.requests"
    assert (await shown(client))["clarion_queue_messages", gone] == 0
    await operator.channel.queue_delete(gone)

    for _ in range(2):
        found = await shown(client)
        assert isnan(found["clarion_queue_messages", gone])
        assert isnan(found["clarion_queue_consumers", gone])
        assert found["clarion_queue_messages", there] == 0
    assert broker.connected


async def test_without_a_broker_its_figures_are_unknown_and_the_database_s_are_not(
    settings: Settings, pool: asyncpg.Pool, serve: Serve
) -> None:
    async with publishing_nowhere(settings) as broker:
        found = await shown(await serve(build_app(settings, pool, broker)))

    for queue in Topology(settings.amqp_prefix).queues:
        assert isnan(found["clarion_queue_messages", queue.name])
        assert isnan(found["clarion_queue_consumers", queue.name])
    assert [figure for figure in ALL if isnan(found[figure])] == []


@pytest.fixture
async def road(settings: Settings) -> AsyncIterator[TcpProxy]:
    """To the database; it can fall silent."""
    address = urlsplit(str(settings.database_url))
    assert address.hostname
    async with tcp_proxy(address.hostname, address.port or 5432) as made:
        yield made


@pytest.fixture
async def client(
    settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve, road: TcpProxy
) -> aiohttp.ClientSession:
    """Of a gateway whose probes take that road, and whose requests do not."""
    by_road = settings.model_copy(update={"database_url": with_port(str(settings.database_url), road.port)})
    return await serve(build_app(by_road, pool, broker))


async def test_a_silent_database_leaves_nothing_of_what_was_known_and_holds_up_one_answer(
    settings: Settings,
    client: aiohttp.ClientSession,
    road: TcpProxy,
    token: Callable[..., Awaitable[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Meanwhile the queues are known, and requests, which have connections of their own, are answered."""
    requests, headers = f"{settings.amqp_prefix}.requests", await token(7)
    assert [figure for figure, found in (await shown(client)).items() if figure in ALL and isnan(found)] == []

    road.pause()
    with capture_logs() as logs:
        found = await shown(client)
        assert [figure for figure in ALL if not isnan(found[figure])] == []
        assert found["clarion_queue_messages", requests] == 0
        # As long as a reading may take, which no answer waits for any more.
        monkeypatch.setattr("service.runtime.sampler.PATIENCE", 3600.0)
        for _ in range(3):
            assert isnan((await shown(client))["clarion_outbox_lag_seconds", ""])
        async with client.get("/api/v1/conversations", headers=headers) as answer:
            assert answer.status == 200
    assert sorted(line["source"] for line in logs if line["event"] == "figures_unknown") == ["backlog", "stuck"]

    road.go_on()

    async def known() -> bool:
        found = await shown(client)
        return not any(isnan(found[figure]) for figure in ALL)

    await until(known)


async def test_who_asks_at_once_and_again_costs_one_reading(
    settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve
) -> None:
    seldom = settings.model_copy(update={"sweep_interval": 3600.0})
    client = await serve(build_app(seldom, pool, broker))
    # As a pool of Clarion's own, that of the probes counts what is asked by name.
    read = growth("api", "clarion_statement_seconds_count", statement="count_backlog")

    await asyncio.gather(*(shown(client) for _ in range(5)))
    await shown(client)

    assert read() == 1
