"""RabbitMQ users that may not declare anything, or hardly anything: it works, or says by name what is missing."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from deploy.rabbitmq import PrivateRabbitMQ
from service.contracts.commands import AnyCommand, DeliverReply, PlanBatch
from service.contracts.topology import Topology
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.fault_environment import fault_environment
from tests.support.private_servers import create_broker_user
from tests.support.waiting import until
from workers.consumer import Consumer
from workers.outcome import Done, Outcome
from workers.queue_consumer import QueueConsumer

NOTHING, ANYTHING = "^$", ".*"
COMMAND = PlanBatch(batch_id=1)


@pytest.fixture
def powerful(settings: Settings, server: PrivateRabbitMQ) -> Settings:
    """The installation for a user who may do everything."""
    return as_user(settings, server.url)


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """What this process logs."""
    with capture_logs() as lines:
        yield lines


def as_user(settings: Settings, url: str) -> Settings:
    """The same installation for another user of the broker."""
    return Settings(**settings.model_dump() | {"amqp_url": url})


async def declared(settings: Settings) -> None:
    """Everything is there, declared by a user with all rights whose connection is closed again."""
    publisher = Publisher(settings, "powerful")
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await publisher.broker.stop()


async def test_a_send_is_carried_through_by_users_who_may_declare_nothing(
    small: Settings, server: PrivateRabbitMQ
) -> None:
    await declared(as_user(small, server.url))
    names = rf"^{small.amqp_prefix}\."
    restricted = as_user(small, await create_broker_user(server, configure=NOTHING, write=names, read=names))
    async with fault_environment(restricted, students=240) as there:
        gateway, worker = await there.running.api(), await there.running.worker()
        await there.send(there.bulk())
        await there.assert_all_sent()

        status, answer, _ = await there.readiness()
        assert (status, answer) == (200, {"status": "ok"})
        for process in (gateway, worker):
            assert [line for line in process.lines if "topology_checked" in line and "ACCESS_REFUSED" in line]
            assert not [line for line in process.lines if "topology_fault" in line]
            assert await process.stop() == 0


async def test_the_gateway_needs_to_write_to_the_exchange_of_commands_and_nothing_else(
    settings: Settings, powerful: Settings, server: PrivateRabbitMQ, logs: list[EventDict]
) -> None:
    await declared(powerful)
    logs.clear()
    names = Topology(settings.amqp_prefix)
    url = await create_broker_user(server, configure=NOTHING, write=f"^{names.commands}$", read=NOTHING)
    publisher = Publisher(as_user(settings, url), "gateway")
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await publisher.command(COMMAND)

    async with broker_client(powerful) as operator:
        await operator.waiting("plan", 1)
    assert publisher.faults == ()
    (checked,) = [line for line in logs if line["event"] == "topology_checked"]
    assert checked["unchecked_bindings"] == [binding.queue for binding in names.bindings]
    # What it says of queues on /metrics needs no permission either.
    counted = {queue.name: await publisher.count_queue(queue.name) for queue in names.queues}
    assert counted == {queue.name: (queue.name == names.command_queue("plan"), 0) for queue in names.queues}
    await publisher.broker.stop()


async def test_what_is_missing_is_reported_by_name_until_it_is_declared(
    settings: Settings, powerful: Settings, server: PrivateRabbitMQ, logs: list[EventDict]
) -> None:
    url = await create_broker_user(server, configure=NOTHING, write=ANYTHING, read=ANYTHING)
    publisher = Publisher(as_user(settings, url), "restricted")
    await publisher.broker.start()
    await until(lambda: any(line["event"] == "broker_unavailable" for line in logs))

    names = Topology(settings.amqp_prefix)
    everything = [part.name for part in names.parts]
    assert [fault.name for fault in publisher.faults] == everything
    assert {line["name"] for line in logs if line["event"] == "topology_fault"} == set(everything)
    for fault in publisher.faults:
        assert (fault.problem, fault.usable) == ("missing", False)
        assert fault.reason.startswith("ACCESS_REFUSED")
        assert "rabbitmqctl set_permissions -p '/' USER" in fault.advice
    error = next(line["error"] for line in logs if line["event"] == "broker_unavailable")
    assert f"exchange {names.commands} is missing" in str(error)

    await declared(powerful)
    await until(lambda: publisher.connected)
    assert publisher.faults == ()
    await publisher.command(COMMAND)
    await publisher.broker.stop()


async def test_a_missing_queue_stops_its_consumer_and_nothing_else(
    settings: Settings, powerful: Settings, server: PrivateRabbitMQ, logs: list[EventDict]
) -> None:
    await declared(powerful)
    gone = Topology(settings.amqp_prefix).command_queue("plan")
    async with broker_client(powerful) as operator:
        await operator.channel.queue_delete(gone)
    url = await create_broker_user(server, configure=NOTHING, write=ANYTHING, read=ANYTHING)
    restricted = as_user(settings, url)
    handled: list[str] = []

    async def handle(command: AnyCommand) -> Outcome:
        handled.append(command.name)
        return Done()

    publisher = Publisher(restricted, "restricted")
    consumers: list[QueueConsumer] = [
        Consumer(restricted, PlanBatch, handle, publisher),
        Consumer(restricted, DeliverReply, handle, publisher),
    ]
    for broker in (publisher.broker, *(consumer.broker for consumer in consumers)):
        await broker.start()
    await until(lambda: publisher.connected and consumers[1].broker.connected)
    await publisher.command(DeliverReply(reply_id=1))
    await until(lambda: handled == ["reply"])

    assert [fault.name for fault in publisher.faults] == [gone]
    unavailable = [line for line in logs if line["event"] == "broker_unavailable"]
    assert {line["connection"] for line in unavailable} == {"clarion-plan"}
    assert all(f"queue {gone} is missing" in str(line["error"]) for line in unavailable)

    await declared(powerful)
    await until(lambda: consumers[0].broker.connected)
    await publisher.command(COMMAND)
    await until(lambda: handled == ["reply", "plan"])
    for consumer in consumers:
        await consumer.drain()
    await publisher.broker.stop()


async def test_a_user_who_may_configure_some_of_it_declares_those(
    settings: Settings, powerful: Settings, server: PrivateRabbitMQ
) -> None:
    names = Topology(settings.amqp_prefix)
    url = await create_broker_user(server, configure=rf"^{names.commands}", write=ANYTHING, read=ANYTHING)
    publisher = Publisher(as_user(settings, url), "half")
    await publisher.broker.start()
    await until(lambda: publisher.connected)

    others = {names.dead, names.events, names.event_sets, names.directory, names.requests}
    assert {fault.name for fault in publisher.faults} == others
    await publisher.command(COMMAND)
    await publisher.broker.stop()


async def test_an_installation_of_users_who_may_do_nothing_serves_and_reports_what_is_missing(
    small: Settings, server: PrivateRabbitMQ
) -> None:
    """Sends are accepted as long as the database answers (CONTRACT 6.1), and carried out once there is a way."""
    url = await create_broker_user(server, configure=NOTHING, write=ANYTHING, read=ANYTHING)
    async with fault_environment(as_user(small, url), students=240) as there:
        gateway = await there.running.start("api")
        await gateway.logged("api_started")
        await gateway.logged("broker_unavailable")
        worker = await there.running.start("worker")
        await worker.logged("topology_fault")
        status, answer, _ = await there.readiness()
        await there.send(there.bulk())

        assert (status, answer["degraded"]) == (200, ["broker", "topology"])
        assert f"exchange {small.amqp_prefix}.commands is missing" in " ".join(answer["topology"])
        await declared(as_user(small, server.url))
        await there.ready()
        await there.assert_all_sent()
        assert await gateway.stop() == 0
        assert await worker.stop() == 0
