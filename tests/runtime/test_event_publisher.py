"""Events go past aiormq's own publish, into its records: those and the wire must be as if they had not."""

from collections import Counter
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import orjson
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import PublishError
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.commands import Basic

from service.contracts.events import MAX_SET_EVENTS, VERSION, VERSION_HEADER
from service.contracts.topology import Topology
from service.domain.outbox import Encoded
from service.runtime.event_publisher import GROUP, PERSISTENT, WINDOW, EventPublisher, Unconfirmed
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.waiting import until


class Given(list[Encoded]):
    """Events that stand for themselves."""

    def counts(self) -> Counter[str]:
        return Counter(event.name for event in self)

    def events(self, unwanted: Container[str]) -> Iterator[Encoded]:
        return (event for event in self if event.name not in unwanted)


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


@asynccontextmanager
async def bound(settings: Settings, *keys: str, sets: bool = False) -> AsyncIterator[AbstractQueue]:
    """A queue for what is published under the keys, one by one or in sets."""
    async with broker_client(settings) as outside:
        queue = await outside.channel.declare_queue(exclusive=True)
        for key in keys:
            await queue.bind(outside.topology.event_sets if sets else outside.topology.events, key)
        yield queue


async def taken_from(queue: AbstractQueue) -> AbstractIncomingMessage:
    """The next message in the queue, which is there."""
    return await queue.get(no_ack=True)


def numbered(name: str, how_many: int) -> Given:
    return Given(Encoded(name, f"{name}.{n}", b'{"n":%d}' % n, TRACEPARENT) for n in range(how_many))


async def test_wire_and_records_are_those_of_aiormq(
    settings: Settings, publisher: EventPublisher, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bodies: one frame, a frame that is just full, and several frames."""
    sizes = (10, channel.max_content_size, channel.max_content_size * 2 + 1)
    events = [Encoded("wanted", f"event.{size}", b"x" * size, TRACEPARENT) for size in sizes]
    async with bound(settings, "wanted"):
        await publisher.publish([numbered("wanted", 1)])  # no set is tried any more, as none was wanted
        before = channel.delivery_tag
        written = writes_of(channel, monkeypatch)

        published = await publisher.publish([Given(events)])
        after = (channel.delivery_tag, dict(channel.confirmations), dict(channel.message_id_delivery_tag))
        exchange = Topology(settings.amqp_prefix).events
        acks = [await publish_by_aiormq(channel, exchange, event) for event in events]

    tried, ours, *theirs = written
    assert (published.settled["wanted"], published.unroutable.total()) == (3, 0)
    assert b".event_sets" in tried.payload
    assert ours.payload == b"".join(one.payload for one in theirs)
    assert (ours.delivery_tag, ours.confirmations) == (before + 4, [before + n for n in (2, 3, 4)])
    assert ours.message_ids == {event.message_id: before + tag for tag, event in enumerate(events, 2)}
    assert after == (before + 4, {}, {})
    assert [one.delivery_tag for one in theirs] == [ack.delivery_tag for ack in acks]
    assert [one.delivery_tag - before for one in theirs] == [5, 6, 7]
    assert [one.confirmations for one in theirs] == [[one.delivery_tag] for one in theirs]
    assert [one.message_ids for one in theirs] == [{e.message_id: before + tag} for tag, e in enumerate(events, 5)]


async def test_what_no_queue_wants_is_returned_and_leaves_no_record(
    publisher: EventPublisher, channel: Channel, settings: Settings
) -> None:
    event = Encoded("unwanted", "event.1", b"{}", TRACEPARENT)

    published = await publisher.publish([Given([event])])

    assert published.unroutable == published.settled == {"unwanted": 1}
    assert channel.delivery_tag == 2  # one by one, and as a set
    with pytest.raises(PublishError):
        await publish_by_aiormq(channel, Topology(settings.amqp_prefix).events, event)
    await until(lambda: not channel.confirmations)  # a returned one is confirmed later
    assert (channel.delivery_tag, channel.message_id_delivery_tag) == (3, {})


async def test_of_a_name_that_no_queue_is_known_to_want_one_event_is_tried(
    publisher: EventPublisher, channel: Channel, settings: Settings
) -> None:
    """Each time, as long as none wants it: once one does, all of them come, and again none is held back."""
    events = numbered("doubtful", 10)
    for _ in range(2):
        again = await publisher.publish([events])
        assert again.settled == again.unroutable == {"doubtful": 10}
    assert channel.delivery_tag == 4  # one by one, and as a set
    async with bound(settings, "doubtful"):
        for _ in range(2):
            published = await publisher.publish([events])
            assert (published.settled, published.unroutable) == ({"doubtful": 10}, {})
    assert channel.delivery_tag == 4 + 2 * 11


class Unread(Given):
    """Fails the test when its events are made."""

    def events(self, unwanted: Container[str]) -> Iterator[Encoded]:
        raise AssertionError("made for nobody")


async def test_what_neither_exchange_can_route_is_counted_and_not_made(publisher: EventPublisher) -> None:
    published = await publisher.publish([numbered("unwanted", 10), Unread(numbered("unwanted", 20))])

    assert published.settled == published.unroutable == {"unwanted": 30}


async def test_who_takes_sets_gets_all_events_in_order_as_they_go_one_by_one(
    publisher: EventPublisher, settings: Settings
) -> None:
    events = numbered("wanted", 2 * MAX_SET_EVENTS + 3)
    async with bound(settings, "wanted", sets=True) as queue, bound(settings, "wanted") as single:
        published = await publisher.publish([events])
        sets = [await taken_from(queue) for _ in range(4)]
        singles = [(await taken_from(single)).body for _ in events]

    assert (published.settled, published.unroutable) == ({"wanted": len(events)}, {})
    assert [each.headers["count"] for each in sets] == [1, MAX_SET_EVENTS, MAX_SET_EVENTS, 2]
    assert {(each.routing_key, each.type, each.headers[VERSION_HEADER]) for each in sets} == {("wanted", "wanted", 1)}
    assert len({each.message_id for each in sets}) == 4
    assert [orjson.loads(body) for body in singles] == [n for each in sets for n in orjson.loads(each.body)]
    assert singles == [event.body for event in events]


@pytest.mark.parametrize("sets", [False, True])
async def test_what_one_exchange_can_route_is_not_unroutable(
    publisher: EventPublisher, settings: Settings, *, sets: bool
) -> None:
    async with bound(settings, "wanted", sets=sets):
        published = await publisher.publish([numbered("wanted", 5), numbered("unwanted", 7)])

    assert published == ({"wanted": 5, "unwanted": 7}, {"unwanted": 7})


async def test_so_many_are_on_their_way_at_once_and_no_more(
    publisher: EventPublisher, channel: Channel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bound(settings, "wanted"):
        await publisher.publish([numbered("wanted", 1)])
        written = writes_of(channel, monkeypatch)

        published = await publisher.publish([numbered("wanted", 3 * WINDOW)])

    assert published.settled == {"wanted": 3 * WINDOW}
    on_their_way = [len(one.confirmations) for one in written if b".event_sets" not in one.payload]
    assert len(on_their_way) == 3 * WINDOW // GROUP
    assert GROUP < max(on_their_way) <= WINDOW


async def test_an_event_that_is_not_confirmed_ends_the_session(
    publisher: EventPublisher, channel: Channel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A confirm that comes late must not be taken for one of the next attempt, which says the same."""
    async with bound(settings, "wanted"):
        await publisher.publish([numbered("wanted", 1)])
        monkeypatch.setattr("service.runtime.event_publisher.PUBLISH_TIMEOUT", 0)
        with pytest.raises(Unconfirmed, match="no answer in time") as raised:
            await publisher.publish([numbered("unwanted", 3)])
        monkeypatch.undo()

        assert raised.value.events == {"unwanted": 1}  # the one that was tried
        await until(lambda: publisher.connected and publisher._channel is not channel)
    assert channel.is_closed


async def test_of_what_was_not_confirmed_only_that_is_counted(
    publisher: EventPublisher, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hasty(Given):
        """There is no time for what comes after its first events."""

        def events(self, unwanted: Container[str]) -> Iterator[Encoded]:
            yield from self[:GROUP]
            monkeypatch.setattr("service.runtime.event_publisher.PUBLISH_TIMEOUT", 0)
            yield from self[GROUP:]

    # One group is on its way at a time, so the first is confirmed before the next begins.
    monkeypatch.setattr("service.runtime.event_publisher.WINDOW", GROUP)
    async with bound(settings, "settled", "late"):
        await publisher.publish([numbered("settled", 1), numbered("late", 1)])
        with pytest.raises(Unconfirmed) as raised:
            await publisher.publish([numbered("settled", GROUP), Hasty(numbered("late", GROUP + 3))])
        monkeypatch.undo()

    assert raised.value.events["settled"] == 0
    assert raised.value.events["late"] > 0
