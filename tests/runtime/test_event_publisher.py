"""Events go past aiormq's own publish, into its records: those and the wire must be as if they had not."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
from aio_pika.exceptions import PublishError
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.commands import Basic

from service.contracts.events import VERSION, VERSION_HEADER
from service.domain.outbox import Encoded
from service.runtime.event_publisher import GROUP, PERSISTENT, WINDOW, EventPublisher, Unconfirmed
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.waiting import until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Written(NamedTuple):
    """What went to the connection in one piece, and what the channel had recorded by then."""

    payload: bytes
    delivery_tag: int
    confirmations: list[int]
    message_ids: dict[str, int]


def writes_of(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """All that is written from now on; it is written all the same."""
    written: list[Written] = []
    put = channel.write_queue.put

    async def note(frame: ChannelFrame) -> None:
        assert not frame.should_close
        records = channel.delivery_tag, list(channel.confirmations), dict(channel.message_id_delivery_tag)
        written.append(Written(frame.payload, *records))
        await put(frame)

    monkeypatch.setattr(channel.write_queue, "put", note)
    return written


async def publish_by_aiormq(channel: Channel, exchange: str, event: Encoded) -> Basic.Ack:
    """As EventPublisher does, by aiormq's own means; PublishError when no queue wants it."""
    properties = Basic.Properties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        headers={VERSION_HEADER: VERSION, "traceparent": event.traceparent},
        message_id=event.message_id,
        message_type=event.name,
    )
    confirmed = await channel.basic_publish(
        event.body, exchange=exchange, routing_key=event.name, properties=properties, mandatory=True
    )
    assert isinstance(confirmed, Basic.Ack)
    return confirmed


@pytest.fixture
async def publisher(settings: Settings) -> AsyncIterator[EventPublisher]:
    """Connected; what it declares is removed in the end."""
    made = EventPublisher(settings, "test")
    await made.broker.start()
    await until(lambda: made.connected)
    yield made
    await made.broker.stop()
    async with broker_client(settings) as operator:
        await operator.delete_topology()


@pytest.fixture
def channel(publisher: EventPublisher) -> Channel:
    """The one that it publishes on."""
    assert publisher._channel is not None
    return publisher._channel


async def test_wire_and_records_are_those_of_aiormq(
    settings: Settings, publisher: EventPublisher, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bodies: one frame, a frame that is just full, and several frames."""
    sizes = (10, channel.max_content_size, channel.max_content_size * 2 + 1)
    events = [Encoded("wanted", f"event.{size}", b"x" * size, TRACEPARENT) for size in sizes]
    async with broker_client(settings) as outside:
        exchange = await outside.channel.get_exchange(outside.topology.events)
        await (await outside.channel.declare_queue(exclusive=True)).bind(exchange, "wanted")
        written = writes_of(channel, monkeypatch)

        published = await publisher.publish(events)
        after = (channel.delivery_tag, dict(channel.confirmations), dict(channel.message_id_delivery_tag))
        acks = [await publish_by_aiormq(channel, exchange.name, event) for event in events]

    ours, *theirs = written
    assert (published.settled["wanted"], published.unroutable.total()) == (3, 0)
    assert ours.payload == b"".join(one.payload for one in theirs)
    assert (ours.delivery_tag, ours.confirmations) == (3, [1, 2, 3])
    assert ours.message_ids == {event.message_id: tag for tag, event in enumerate(events, 1)}
    assert after == (3, {}, {})
    assert [one.delivery_tag for one in theirs] == [ack.delivery_tag for ack in acks] == [4, 5, 6]
    assert [one.confirmations for one in theirs] == [[4], [5], [6]]
    assert [one.message_ids for one in theirs] == [{e.message_id: tag} for tag, e in enumerate(events, 4)]


async def test_what_no_queue_wants_is_returned_and_leaves_no_record(
    publisher: EventPublisher, channel: Channel, settings: Settings
) -> None:
    event = Encoded("unwanted", "event.1", b"{}", TRACEPARENT)

    published = await publisher.publish([event])

    assert published.unroutable == published.settled == {"unwanted": 1}
    async with broker_client(settings) as outside:
        with pytest.raises(PublishError):
            await publish_by_aiormq(channel, outside.topology.events, event)
    await until(lambda: not channel.confirmations)  # a returned one is confirmed later
    assert (channel.delivery_tag, channel.message_id_delivery_tag) == (2, {})


async def test_of_a_name_that_no_queue_wanted_one_event_is_tried_the_next_time(
    publisher: EventPublisher, channel: Channel, settings: Settings
) -> None:
    """As long as none wants it: once one does, all of them come, and again none is held back."""
    events = [Encoded("doubtful", f"event.{n}", b"{}", TRACEPARENT) for n in range(10)]
    assert (await publisher.publish(events)).unroutable == {"doubtful": 10}

    again = await publisher.publish(events)

    assert again.settled == again.unroutable == {"doubtful": 10}
    assert channel.delivery_tag == 11
    async with broker_client(settings) as outside:
        queue = await outside.channel.declare_queue(exclusive=True)
        await queue.bind(outside.topology.events, "doubtful")
        for _ in range(2):
            published = await publisher.publish(events)
            assert (published.settled, published.unroutable) == ({"doubtful": 10}, {})
    assert channel.delivery_tag == 31


async def test_so_many_are_on_their_way_at_once_and_no_more(
    publisher: EventPublisher, channel: Channel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [Encoded("wanted", f"event.{n}", b"{}", TRACEPARENT) for n in range(3 * WINDOW)]
    async with broker_client(settings) as outside:
        queue = await outside.channel.declare_queue(exclusive=True)
        await queue.bind(outside.topology.events, "wanted")
        written = writes_of(channel, monkeypatch)

        published = await publisher.publish(events)

    assert published.settled == {"wanted": 3 * WINDOW}
    on_their_way = [len(one.confirmations) for one in written]
    assert len(on_their_way) == 3 * WINDOW // GROUP
    assert GROUP < max(on_their_way) <= WINDOW


async def test_an_event_that_is_not_confirmed_ends_the_session(
    publisher: EventPublisher, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A confirm that comes late must not be taken for one of the next attempt, which says the same."""
    monkeypatch.setattr("service.runtime.event_publisher.PUBLISH_TIMEOUT", 0)
    with pytest.raises(Unconfirmed, match="no answer in time") as raised:
        await publisher.publish([Encoded("unwanted", f"event.{n}", b"{}", TRACEPARENT) for n in range(3)])
    monkeypatch.undo()

    assert raised.value.events == {"unwanted": 3}
    await until(lambda: publisher.connected and publisher._channel is not channel)
    assert channel.is_closed


async def test_of_what_was_not_confirmed_only_that_is_counted(
    publisher: EventPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = [Encoded("unwanted", f"event.{n}", b"{}", TRACEPARENT) for n in range(GROUP)]
    await publisher.publish(settled[:1])  # the next one of the name is waited for

    def then_in_haste() -> Iterator[Encoded]:
        yield from settled
        monkeypatch.setattr("service.runtime.event_publisher.PUBLISH_TIMEOUT", 0)
        yield from (Encoded("late", f"late.{n}", b"{}", TRACEPARENT) for n in range(3))

    with pytest.raises(Unconfirmed) as raised:
        await publisher.publish(then_in_haste())
    monkeypatch.undo()

    assert raised.value.events == {"late": 3}
