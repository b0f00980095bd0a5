"""What an installation has on the broker: declared, and what is not as it should be is reported by name."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aio_pika import Message
from structlog.testing import capture_logs

from service.contracts.commands import PlanBatch
from service.contracts.topology import DELIVERY_LIMIT, DIRECTORY_DELIVERY_LIMIT
from service.runtime.broker import BrokerUnavailable
from service.runtime.metrics import exposition
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.broker import BrokerClient, broker_client
from tests.support.waiting import until

COMMAND = PlanBatch(batch_id=1)


@pytest.fixture
async def operator(settings: Settings) -> AsyncIterator[BrokerClient]:
    """Came first and may have left something; removes everything in the end."""
    async with broker_client(settings) as made:
        yield made
        await made.delete_topology()


@pytest.fixture
async def publisher(settings: Settings, operator: BrokerClient) -> AsyncIterator[Publisher]:
    """Not started yet, so that the operator may be first."""
    made = Publisher(settings, "test")
    yield made
    await made.broker.stop()


async def test_everything_is_declared_and_declaring_again_changes_nothing(
    settings: Settings, operator: BrokerClient, publisher: Publisher
) -> None:
    again = Publisher(settings, "again")
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await again.broker.start()
    await until(lambda: again.connected)

    assert publisher.faults == again.faults == ()
    for name in ("commands.plan", "commands.deliver", "commands.reply", "commands.update"):
        await operator.channel.get_queue(f"{settings.amqp_prefix}.{name}")
    for name in ("directory", "requests", "dead"):
        await operator.channel.get_queue(f"{settings.amqp_prefix}.{name}")
        await operator.channel.get_exchange(f"{settings.amqp_prefix}.{name}")
    for name in ("commands", "events"):
        await operator.channel.get_exchange(f"{settings.amqp_prefix}.{name}")
    await again.broker.stop()


@pytest.mark.parametrize(
    "way",
    [
        ("directory", "user_created", "directory"),
        ("directory", "no.such.event", "directory"),
        ("requests", "conversation.create", "requests"),
        ("dead", "any", "dead"),
        ("commands", "reply", "commands.reply"),
    ],
    ids=" ".join,
)
async def test_what_comes_by_an_exchange_is_in_its_queue(
    settings: Settings, operator: BrokerClient, publisher: Publisher, way: tuple[str, str, str]
) -> None:
    exchange, key, queue = way
    await publisher.broker.start()
    await until(lambda: publisher.connected)

    entry = await operator.channel.get_exchange(f"{settings.amqp_prefix}.{exchange}")
    await entry.publish(Message(b"body"), key, mandatory=True)

    found = await operator.channel.get_queue(f"{settings.amqp_prefix}.{queue}")
    assert (await found.get(no_ack=True)).body == b"body"


async def test_a_dead_letter_may_be_looked_at_any_number_of_times(operator: BrokerClient, publisher: Publisher) -> None:
    """RabbitMQ 4 drops what was returned 20 times unless the queue says otherwise; 3.10 takes -1 for "at once"."""
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await publisher.dead_letter(Message(b"body"), reason="why not", source="x", routing_key="", now=datetime.now(UTC))

    queue = await operator.channel.get_queue(operator.topology.dead)
    for _ in range(DELIVERY_LIMIT + 5):
        message = await queue.get()
        assert message.body == b"body"
        await message.nack(requeue=True)


async def test_a_command_handed_out_too_often_is_among_the_dead_letters(
    operator: BrokerClient, publisher: Publisher
) -> None:
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await publisher.command(COMMAND)

    queue = await operator.channel.get_queue(operator.topology.command_queue("plan"))
    for _ in range(DELIVERY_LIMIT + 1):
        await (await queue.get()).nack(requeue=True)

    (letter,) = await operator.dead_letters(1)
    assert letter.body == COMMAND.model_dump_json().encode()
    await operator.waiting("plan", 0)


async def test_a_directory_event_is_handed_out_far_more_often_and_not_without_end(
    operator: BrokerClient, publisher: Publisher
) -> None:
    """It is held while the database is away, and with it hundreds that are not to blame."""
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    exchange = await operator.channel.get_exchange(operator.topology.directory)
    await exchange.publish(Message(b"event"), "user_created", mandatory=True)

    queue = await operator.channel.get_queue(operator.topology.directory)
    for _ in range(10 * DELIVERY_LIMIT):
        await (await queue.get()).nack(requeue=True)
    await operator.waiting_in(queue.name, 1)
    for _ in range(DIRECTORY_DELIVERY_LIMIT + 1 - 10 * DELIVERY_LIMIT):
        await (await queue.get()).nack(requeue=True)

    (letter,) = await operator.dead_letters(1)
    assert letter.body == b"event"


async def test_a_queue_of_other_arguments_is_used_and_reported_with_what_to_do(
    operator: BrokerClient, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.runtime.broker.RECHECK", 0.1)
    name = operator.topology.command_queue("plan")
    (ours,) = [queue for queue in operator.topology.queues if queue.name == name]
    await operator.channel.declare_queue(name, durable=True, arguments={**ours.arguments, "x-delivery-limit": 20})

    with capture_logs() as logs:
        await publisher.broker.start()
        await until(lambda: publisher.connected)
    await publisher.command(COMMAND)
    await operator.waiting("plan", 1)

    (fault,) = publisher.faults
    assert (fault.kind, fault.name, fault.problem, fault.usable) == ("queue", name, "different", True)
    assert "'x-delivery-limit'" in fault.reason
    assert f"rabbitmqctl -p '/' delete_queue '{name}'" in fault.advice
    assert [line["name"] for line in logs if line["event"] == "topology_fault"] == [name]
    gauge = f'clarion_topology_faults{{kind="queue",name="{name}",problem="different"}} 1.0'
    assert gauge in exposition().decode()

    await operator.channel.queue_delete(name)
    await until(lambda: publisher.faults == ())
    await operator.channel.declare_queue(name, durable=True, arguments=dict(ours.arguments))
    assert gauge not in exposition().decode()


async def test_every_queue_of_other_arguments_is_reported_and_the_rest_is_declared(
    operator: BrokerClient, publisher: Publisher
) -> None:
    """Each of them costs a channel, and none of them the connection."""
    names = [operator.topology.dead, operator.topology.directory, operator.topology.command_queue("reply")]
    for name in names:
        await operator.channel.declare_queue(name, durable=True)

    await publisher.broker.start()
    await until(lambda: publisher.connected)

    assert {fault.name for fault in publisher.faults} == set(names)
    assert all("'x-" in fault.reason and fault.usable for fault in publisher.faults)
    await publisher.command(COMMAND)
    await publisher.dead_letter(Message(b"body"), reason="why not", source="x", routing_key="", now=datetime.now(UTC))
    await operator.waiting("plan", 1)


async def test_an_exchange_of_another_kind_stops_publishing_until_it_is_out_of_the_way(
    operator: BrokerClient, publisher: Publisher
) -> None:
    """A fanout would hand every command to every consumer."""
    name = operator.topology.commands
    await operator.channel.declare_exchange(name, "fanout", durable=True)
    with capture_logs() as logs:
        await publisher.broker.start()
        await until(lambda: any(line["event"] == "broker_unavailable" for line in logs))

    assert any(name in line["error"] and "inequivalent arg 'type'" in line["error"] for line in logs if "error" in line)
    (fault,) = publisher.faults
    assert (fault.kind, fault.name, fault.usable) == ("exchange", name, False)
    with pytest.raises(BrokerUnavailable, match="not connected"):
        await publisher.command(COMMAND)

    await operator.channel.exchange_delete(name)
    await until(lambda: publisher.connected)
    assert publisher.faults == ()
    await publisher.command(COMMAND)


async def test_a_queue_that_is_not_durable_is_not_used(operator: BrokerClient, publisher: Publisher) -> None:
    """Commands in it would be confirmed and gone with the next restart of the broker."""
    name = operator.topology.command_queue("plan")
    await operator.channel.declare_queue(name, durable=False)
    await publisher.broker.start()
    await until(lambda: publisher.connected)

    (fault,) = publisher.faults
    assert (fault.name, fault.usable) == (name, False)
    assert "'durable'" in fault.reason
    with pytest.raises(BrokerUnavailable, match="NO_ROUTE"):
        await publisher.command(COMMAND)
