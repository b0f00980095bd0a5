"""Publishing events: in order on one channel, many on their way at once, each confirmed."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, cast

from aio_pika.exceptions import PublishError
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.common import FieldTable
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from service.contracts.events import VERSION, VERSION_HEADER
from service.contracts.topology import Topology
from service.domain.outbox import Encoded
from service.runtime.broker import PUBLISH_TIMEOUT, Broker, BrokerUnavailable, Session, broker_errors, require
from service.runtime.settings import Settings
from service.runtime.tracing import HEADER

WINDOW = 1000  # events on their way at once
GROUP = 100  # events handed to the connection at once

PERSISTENT = 2


class Published(NamedTuple):
    """Events by name: how many are settled, and how many of those no queue wanted."""

    settled: Counter[str]
    unroutable: Counter[str]


class Unconfirmed(BrokerUnavailable):
    """Events were sent and not confirmed; ``events``: how many, by name."""

    def __init__(self, reason: str, events: Counter[str]) -> None:
        super().__init__(reason)
        self.events = events


class EventPublisher:
    """Publishes on the exchange of events, mandatory and confirmed. For one caller at a time.

    aiormq's own publish takes a lock, a timer and several futures for each message, which is five times the work of
    the message. Here a group of messages goes to the connection in one piece, which lets the relay publish 1.8 times
    as many a second (deploy/README.md, "events relayed a second"); numbers, confirms and returns are kept where aiormq
    keeps them, on the channel, which is used for nothing else. aiormq does not promise that they stay there:
    pyproject.toml bounds its release, and tests/runtime/test_event_publisher.py compares wire and records with aiormq's
    own publish.

    The exchange routes by an event's name alone. When no queue wants one event of a name, the others of the same call
    are as unroutable as if they had been sent and returned, which would cost more than publishing them.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._topology = Topology(settings.amqp_prefix)
        self._channel: Channel | None = None
        self._unwanted: frozenset[str] = frozenset()  # names that no queue wanted the last time
        self.broker = Broker(settings, name, self._open)

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance."""
        return self.broker.connected

    async def _open(self, session: Session) -> None:
        require(await session.declare(self._topology), self._topology.events)
        channel = await session.channel()
        self._channel = cast(Channel, await channel.get_underlay_channel())

    async def publish(self, events: Iterable[Encoded]) -> Published:
        """Publishes the events in their order.

        Unconfirmed when one was not confirmed: then it may have been published or not, and so may any other.
        BrokerUnavailable when none was sent.
        """
        channel = self._channel
        if channel is None or not self.connected:
            raise BrokerUnavailable("not connected")
        flight = _Flight(channel, self._topology.events, self._unwanted)
        try:
            with broker_errors():
                for group in _groups(events):
                    await flight.add(group)
                await flight.at_most(0)
        except BrokerUnavailable as error:
            # What is still on its way must not be mistaken for the next attempt, which says the same.
            self.broker.end_session("an event was not confirmed")
            raise Unconfirmed(str(error), flight.unconfirmed) from error
        self._unwanted = frozenset(flight.unwanted)
        return flight.published


class _Flight:
    """The events of one call that are on their way.

    ``doubtful``: names of which one event is sent alone, to see whether a queue wants them by now.
    """

    def __init__(self, channel: Channel, exchange: str, doubtful: Iterable[str]) -> None:
        self._channel = channel
        self._exchange = exchange
        self._doubtful = set(doubtful)
        self.unwanted: set[str] = set()
        self._methods: dict[str, bytes] = {}
        self._open = 0
        self._limit = 0
        self._below_limit = asyncio.Event()
        self._failure: BaseException | None = None
        self.published = Published(Counter(), Counter())
        self._added: Counter[str] = Counter()

    @property
    def unconfirmed(self) -> Counter[str]:
        """Events that were added and are not settled, by name."""
        return self._added - self.published.settled

    async def at_most(self, count: int) -> None:
        """Returns when no more are on their way; raises the error of one that failed."""
        self._limit = count
        if self._open > count and self._failure is None:
            self._below_limit.clear()
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await self._below_limit.wait()
        if self._failure is not None:
            raise self._failure

    async def add(self, group: Sequence[Encoded]) -> None:
        """Sends the events in their order, but for those that no queue wants."""
        wanted: list[Encoded] = []
        self._added.update(event.name for event in group)
        for event in group:
            if event.name in self._doubtful:
                await self._send(wanted)
                await self._send([event])
                await self.at_most(0)
                self._doubtful.discard(event.name)
                wanted = []
            elif event.name in self.unwanted:
                self.published.settled[event.name] += 1
                self.published.unroutable[event.name] += 1
            else:
                wanted.append(event)
        await self._send(wanted)

    async def _send(self, group: Sequence[Encoded]) -> None:
        """Hands the events to the connection, numbered."""
        if not group:
            return
        await self.at_most(WINDOW - len(group))
        channel = self._channel
        if channel.is_closed:
            raise BrokerUnavailable("the channel is closed")
        for event in group:
            channel.delivery_tag += 1
            confirmation = channel.create_future()
            channel.confirmations[channel.delivery_tag] = confirmation
            channel.message_id_delivery_tag[event.message_id] = channel.delivery_tag
            confirmation.add_done_callback(partial(self._settled, event))
        self._open += len(group)
        payload = b"".join(self._frames(event) for event in group)
        async with asyncio.timeout(PUBLISH_TIMEOUT):
            await channel.write_queue.put(ChannelFrame(payload=payload, should_close=False))

    def _frames(self, event: Encoded) -> bytes:
        headers: FieldTable = {VERSION_HEADER: VERSION}
        if event.traceparent is not None:
            headers[HEADER] = event.traceparent
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=PERSISTENT,
            headers=headers,
            message_id=event.message_id,
            message_type=event.name,
        )
        size = self._channel.max_content_size
        frames: list[ContentHeader | ContentBody] = [ContentHeader(body_size=len(event.body), properties=properties)]
        frames.extend(ContentBody(event.body[start : start + size]) for start in range(0, len(event.body), size))
        return self._method(event.name) + b"".join(marshal(frame, self._channel.number) for frame in frames)

    def _method(self, name: str) -> bytes:
        """The frame that all events of a name begin with."""
        if name not in self._methods:
            frame = Basic.Publish(exchange=self._exchange, routing_key=name, mandatory=True)
            self._methods[name] = marshal(frame, self._channel.number)
        return self._methods[name]

    def _settled(self, event: Encoded, confirmation: asyncio.Future[object]) -> None:
        self._open -= 1
        self._channel.message_id_delivery_tag.pop(event.message_id, None)
        error = BrokerUnavailable("the channel was lost") if confirmation.cancelled() else confirmation.exception()
        if error is None or isinstance(error, PublishError):
            self.published.settled[event.name] += 1
            if error is not None:
                self.published.unroutable[event.name] += 1
                self.unwanted.add(event.name)
        else:
            self._failure = error
        if self._open <= self._limit or self._failure is not None:
            self._below_limit.set()


def _groups(events: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    left = iter(events)
    while group := list(islice(left, GROUP)):
        yield group
