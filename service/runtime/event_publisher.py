"""Publishing events: in order on one channel, many on their way at once, each confirmed."""

import asyncio
import struct
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self, cast

from aio_pika.exceptions import PublishError
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel, ConfirmationType
from pamqp.commands import Basic
from pamqp.common import FieldTable
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from service.contracts.events import COUNT_HEADER, VERSION, VERSION_HEADER
from service.contracts.topology import Topology
from service.domain.event_sets import EventSet, EventSets
from service.domain.outbox import Encoded
from service.runtime.broker import PUBLISH_TIMEOUT, Broker, BrokerUnavailable, Session, broker_errors, require
from service.runtime.settings import Settings
from service.runtime.tracing import HEADER

WINDOW = 1000  # events on their way at once
GROUP = 100  # events handed to the connection at once
SETS = 20  # sets on their way at once, of MAX_SET_BYTES each

PERSISTENT = 2

# AMQP 0-9-1, 4.2.3 and 4.2.6: a frame's kind, channel and length; a header's class, weight and length of the body.
_FRAME, _BODY, _END = struct.Struct(">BHI"), struct.Struct(">HHQ"), b"\xce"
_HEADER_FRAME, _BODY_FRAME, _BASIC = 2, 3, 60
_ID = b"the id of a message"


class Published(NamedTuple):
    """Events by name: how many are settled, and how many of those no queue wanted."""

    settled: Counter[str]
    unroutable: Counter[str]


class Unconfirmed(BrokerUnavailable):
    """Events were sent and not confirmed; ``events``: how many, by name."""

    def __init__(self, reason: str, events: Counter[str]) -> None:
        super().__init__(reason)
        self.events = events


class Source(Protocol):
    """What stands for some events: a row of the outbox."""

    def counts(self) -> Counter[str]:
        """How many of which name."""

    def events(self, unwanted: Container[str]) -> Iterator[Encoded]:
        """The events in their order, but for the names in ``unwanted``, which may grow meanwhile."""


class EventPublisher:
    """Publishes on the exchange of events and that of sets, mandatory and confirmed. For one caller at a time.

    aiormq's own publish takes a lock, a timer and several futures for each message, which is five times the work of
    the message. Here a group of messages goes to the connection in one piece, which lets the relay publish three times
    as many a second (`relay_to_raw` of tests/bench/events.py); numbers, confirms and returns are kept where aiormq
    keeps them, on the channel, which is used for nothing else. aiormq does not promise that they stay there:
    pyproject.toml bounds its release, and tests/runtime/test_event_publisher.py compares wire and records with aiormq's
    own publish.

    Both exchanges route by an event's name alone. When no queue wants one event of a name, the others of the same call
    are as unroutable as if they had been sent and returned, which would cost more than publishing them; those that
    neither exchange can route are only counted, and not made.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._topology = Topology(settings.amqp_prefix)
        self._channel: Channel | None = None
        self._takes_sets = False
        self._wanted: dict[str, frozenset[str]] = {}  # by exchange, names that a queue took the last time
        self.broker = Broker(settings, name, self._open)

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance."""
        return self.broker.connected

    async def _open(self, session: Session) -> None:
        faults = await session.declare(self._topology)
        require(faults, self._topology.events)
        # Where only others may declare exchanges, that of sets may not be there yet; single events do not wait for it.
        self._takes_sets = all(fault.usable for fault in faults if fault.name == self._topology.event_sets)
        channel = await session.channel()
        self._channel = cast(Channel, await channel.get_underlay_channel())

    async def publish(self, sources: Iterable[Source]) -> Published:
        """Publishes the events of all sources in their order.

        Unconfirmed when one was not confirmed: then it may have been published or not, and so may any other.
        BrokerUnavailable when none was sent.
        """
        channel = self._channel
        if channel is None or not self.connected:
            raise BrokerUnavailable("not connected")
        exchanges = [self._topology.events, *([self._topology.event_sets] if self._takes_sets else [])]
        flights = [_Flight(channel, exchange, self._wanted.get(exchange, frozenset())) for exchange in exchanges]
        passage = _Passage(*flights)
        try:
            with broker_errors():
                for source in sources:
                    await passage.add(source)
                await passage.finish()
        except BrokerUnavailable as error:
            # What is still on its way must not be mistaken for the next attempt, which says the same.
            self.broker.end_session("an event was not confirmed")
            raise Unconfirmed(str(error), passage.unconfirmed) from error
        finally:
            for flight in flights:
                flight.end()
        self._wanted = {flight.exchange: flight.wanted for flight in flights}
        return passage.published


class _Passage:
    """The events of one call: each to those who take them one by one, and in sets to those who take sets."""

    def __init__(self, singles: "_Flight", sets: "_Flight | None" = None) -> None:
        self._singles = singles
        self._sets = sets
        self._gathered = EventSets()
        self._group: list[Encoded] = []
        self._counts: Counter[str] = Counter()
        self._unwanted: set[str] = set()  # names that neither exchange can route

    @property
    def unconfirmed(self) -> Counter[str]:
        """Events that were sent and are not settled, by name."""
        return self._singles.unconfirmed | (self._sets.unconfirmed if self._sets else Counter())

    @property
    def published(self) -> Published:
        """All that was added, once it is settled."""
        taken = self._singles.taken | (self._sets.taken if self._sets else Counter())
        return Published(self._counts, self._counts - taken)

    async def add(self, source: Source) -> None:
        """Sends the events of a source that any queue may want."""
        counts = source.counts()
        self._counts += counts
        if all(name in self._unwanted for name in counts):
            return
        singles, sets = self._singles, self._sets
        for event in source.events(self._unwanted):
            # What most events need stands here in a row: a call for each would cost as much as all of it.
            if event.name not in singles.unwanted:
                if singles.doubts(event.name):
                    await self._send_group()
                    await self._try(singles, _single(event))
                else:
                    self._group.append(event)
                    if len(self._group) == GROUP:
                        await self._send_group()
            if sets is not None and event.name not in sets.unwanted:
                ready = self._gathered.add(event)
                if sets.doubts(event.name):
                    ready = [*ready, *self._gathered.rest()]
                if ready:
                    await self._send_sets(sets, ready)

    async def _send_sets(self, flight: "_Flight", ready: Iterable[EventSet]) -> None:
        for each in ready:
            if flight.doubts(each.name):
                await self._try(flight, _set(each))
            else:
                await flight.send([_set(each)], at_once=SETS)

    async def _try(self, flight: "_Flight", message: "_Outgoing") -> None:
        await flight.try_one(message)
        others = self._singles if flight is self._sets else self._sets
        if message.name in flight.unwanted and (others is None or message.name in others.unwanted):
            self._unwanted.add(message.name)

    async def _send_group(self) -> None:
        group, self._group = self._group, []
        await self._singles.send([_single(event) for event in group], at_once=WINDOW)

    async def finish(self) -> None:
        """Returns when all is settled."""
        await self._send_group()
        if self._sets is not None:
            await self._send_sets(self._sets, self._gathered.rest())
            await self._sets.at_most(0)
        await self._singles.at_most(0)


class _Outgoing(NamedTuple):
    """One message; ``events``: how many it has, where it is a set."""

    name: str
    message_id: str
    body: bytes
    traceparent: str | None
    events: int | None


def _single(event: Encoded) -> _Outgoing:
    return _Outgoing(event.name, event.message_id, event.body, event.traceparent, None)


def _set(events: EventSet) -> _Outgoing:
    """Its events are of many traces."""
    return _Outgoing(events.name, events.message_id, events.body, None, events.size)


class _Flight:
    """The messages of one call that are on their way to one exchange.

    Of a name that no queue is known to want one message goes alone. ``wanted``: names of which a queue took messages.
    """

    def __init__(self, channel: Channel, exchange: str, wanted: frozenset[str]) -> None:
        self._channel = channel
        self._known = set(wanted)
        self.exchange = exchange
        self.unwanted: set[str] = set()
        self.taken: Counter[str] = Counter()  # events that a queue took, by name
        self._templates: dict[tuple[str, str | None, int | None], _Template] = {}
        self._open = 0
        self._limit = 0
        self._below_limit = asyncio.Event()
        self._failure: BaseException | None = None
        self._sent: Counter[str] = Counter()
        self._settled_events: Counter[str] = Counter()
        self._closing = channel.closing
        self._closing.add_done_callback(self._lost)

    @property
    def unconfirmed(self) -> Counter[str]:
        """Events that were sent and are not settled, by name."""
        return self._sent - self._settled_events

    @property
    def wanted(self) -> frozenset[str]:
        """Names that a queue took, or wanted before."""
        return frozenset(self._known - self.unwanted)

    def doubts(self, name: str) -> bool:
        """Whether it has to be tried first if any queue wants events of the name."""
        return name not in self._known

    def end(self) -> None:
        """Looks no longer whether the channel is lost."""
        self._closing.remove_done_callback(self._lost)
        self._closing.cancel()

    async def at_most(self, count: int) -> None:
        """Returns when no more are on their way; raises the error of one that failed."""
        self._limit = count
        if self._open > count and self._failure is None:
            self._below_limit.clear()
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await self._below_limit.wait()
        if self._failure is not None:
            raise self._failure

    async def try_one(self, message: _Outgoing) -> None:
        """Sends a message of a doubtful name alone; then its name is doubtful no more."""
        await self.send([message], at_once=WINDOW)
        await self.at_most(0)
        self._known.add(message.name)

    async def send(self, group: Sequence[_Outgoing], *, at_once: int) -> None:
        """Hands the messages to the connection, numbered, when so few are on their way that these have room."""
        if not group:
            return
        await self.at_most(max(at_once - len(group), 0))
        channel = self._channel
        if channel.is_closed:
            raise BrokerUnavailable("the channel is closed")
        for message in group:
            channel.delivery_tag += 1
            channel.confirmations[channel.delivery_tag] = cast(ConfirmationType, _Confirmation(self, message))
            channel.message_id_delivery_tag[message.message_id] = channel.delivery_tag
            self._sent[message.name] += message.events or 1
        self._open += len(group)
        payload = b"".join(self._frames(message) for message in group)
        async with asyncio.timeout(PUBLISH_TIMEOUT):
            await channel.write_queue.put(ChannelFrame(payload=payload, should_close=False))

    def _frames(self, message: _Outgoing) -> bytes:
        kind = message.name, message.traceparent, message.events
        if kind not in self._templates:
            self._templates[kind] = _Template.of(self._channel, self.exchange, message)
        return self._templates[kind].frames(message)

    def _lost(self, _closing: object) -> None:
        if self._open:
            self._failure = BrokerUnavailable("the channel was lost")
            self._below_limit.set()

    def settled(self, message: _Outgoing, error: BaseException | None) -> None:
        """Notes how the broker answered to a message."""
        self._open -= 1
        self._channel.message_id_delivery_tag.pop(message.message_id, None)
        if error is None or isinstance(error, PublishError):
            events = message.events or 1
            self._settled_events[message.name] += events
            if error is None:
                self.taken[message.name] += events
            else:
                self.unwanted.add(message.name)
        else:
            self._failure = error
        if self._open <= self._limit or self._failure is not None:
            self._below_limit.set()


class _Confirmation:
    """Stands where aiormq has a future for each message, of which it uses only this.

    A future of the channel's is registered in three places and runs four callbacks, which is half of the work of a
    message. That the channel is lost is noticed once for all (_Flight).
    """

    __slots__ = ("_done", "_flight", "_message")

    def __init__(self, flight: _Flight, message: _Outgoing) -> None:
        self._flight = flight
        self._message = message
        self._done = False

    def done(self) -> bool:
        """Whether the broker has answered."""
        return self._done

    def cancelled(self) -> bool:
        """Never: nobody waits for one message."""
        return False

    def set_result(self, _frame: object) -> None:
        """A queue took it."""
        self._done = True
        self._flight.settled(self._message, None)

    def set_exception(self, error: BaseException) -> None:
        """No queue wanted it, or the broker refused it."""
        self._done = True
        self._flight.settled(self._message, error)


@dataclass(frozen=True, slots=True)
class _Template:
    """The frames of messages that differ in nothing but message id and body."""

    channel: int
    most: int  # bytes of the body in one frame
    method: bytes
    before_id: bytes  # of the properties
    after_id: bytes

    @classmethod
    def of(cls, channel: Channel, exchange: str, message: _Outgoing) -> Self:
        """That of this message and its like."""
        headers: FieldTable = {VERSION_HEADER: VERSION}
        if message.events is not None:
            headers[COUNT_HEADER] = message.events
        if message.traceparent is not None:
            headers[HEADER] = message.traceparent
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=PERSISTENT,
            headers=headers,
            message_id=_ID.decode(),
            message_type=message.name,
        )
        method = Basic.Publish(exchange=exchange, routing_key=message.name, mandatory=True)
        header = marshal(ContentHeader(properties=properties), channel.number)[_FRAME.size + _BODY.size : -len(_END)]
        before, after = header.split(bytes([len(_ID)]) + _ID)
        return cls(channel.number, channel.max_content_size, marshal(method, channel.number), before, after)

    def frames(self, message: _Outgoing) -> bytes:
        """The publish, its header and its body."""
        id_, body = message.message_id.encode(), message.body
        header = b"".join((_BODY.pack(_BASIC, 0, len(body)), self.before_id, bytes([len(id_)]), id_, self.after_id))
        parts = [self.method, self._frame(_HEADER_FRAME, header)]
        parts.extend(
            self._frame(_BODY_FRAME, body[start : start + self.most]) for start in range(0, len(body), self.most)
        )
        return b"".join(parts)

    def _frame(self, kind: int, payload: bytes) -> bytes:
        return b"".join((_FRAME.pack(kind, self.channel, len(payload)), payload, _END))
