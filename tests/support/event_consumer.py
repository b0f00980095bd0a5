"""A consumer on the exchange of events, with a queue of its own: takes what comes, as it comes."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage

from service.contracts.events import MAX_SET_BYTES, MAX_SET_EVENTS, AnyEvent, MessageCreated, parse_event
from service.contracts.topology import Topology
from service.domain.event_metadata import Cause
from service.runtime.settings import Settings
from service.runtime.topology import declare
from sql.connection import Connection
from tests.support.outbox import record_message
from tests.support.waiting import until

_LAST = count(10**15)  # message ids that no other event has


@dataclass(frozen=True)
class ReceivedEvent:
    """One delivery."""

    event: AnyEvent
    message_id: str
    traceparent: object


@dataclass
class EventConsumer:
    """``received``: everything so far, in the order in which it came; ``times``: how often each message id came."""

    received: list[ReceivedEvent] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Reads it by its contract."""
        assert message.message_id
        assert message.routing_key == message.type
        assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        event = parse_event(message.routing_key or "", message.body)
        assert event.metadata.event_name == event.name
        assert event.metadata.message_id == message.message_id
        self.received.append(ReceivedEvent(event, message.message_id, message.headers.get("traceparent")))
        self.times[message.message_id] += 1
        await message.ack()

    async def take_set(self, message: AbstractIncomingMessage) -> None:
        """Reads each of a set by its contract."""
        parts = orjson.loads(message.body)
        assert message.headers["count"] == len(parts)
        assert 0 < len(parts) <= MAX_SET_EVENTS
        assert len(message.body) <= MAX_SET_BYTES
        for part in parts:
            event = parse_event(message.routing_key or "", orjson.dumps(part))
            message_id = str(event.metadata.message_id)
            self.received.append(ReceivedEvent(event, message_id, None))
            self.times[message_id] += 1
        await message.ack()

    @property
    def messages(self) -> dict[int, list[int]]:
        """Ids of messages by their conversation, in the order in which each came first."""
        found: defaultdict[int, dict[int, None]] = defaultdict(dict)
        for each in self.received:
            if isinstance(each.event, MessageCreated):
                found[int(each.event.body.conversation_id)].setdefault(int(each.event.body.message_id))
        return {conversation: list(messages) for conversation, messages in found.items()}

    async def until(self, condition: Callable[["EventConsumer"], bool]) -> None:
        """Returns when the condition holds of what was received."""
        await until(lambda: condition(self))

    async def everything(self, conn: Connection) -> list[ReceivedEvent]:
        """What is committed, to the last event; it is forgotten here, so that the next call returns the rest.

        When the outbox is empty all is confirmed, and so in this consumer's queue before anything recorded later.
        """

        async def nothing_left() -> bool:
            return bool(await conn.fetchval("SELECT count(*) = 0 FROM outbox"))

        await until(nothing_left)
        last = next(_LAST)
        await record_message(conn, Cause({"root_account_id": "1"}), 1, last)
        await self.until(lambda it: it.times[f"{MessageCreated.name}.{last}"] > 0)
        await until(nothing_left)
        found = [one for one in self.received if one.message_id != f"{MessageCreated.name}.{last}"]
        self.received.clear()
        self.times.clear()
        return found


@asynccontextmanager
async def event_consumer(settings: Settings, key: str = "#", *, sets: bool = False) -> AsyncIterator[EventConsumer]:
    """Listening for as long as the block runs, to the events whose names fit the key, one by one or in sets."""
    topology = Topology(settings.amqp_prefix)
    async with await aio_pika.connect(str(settings.amqp_url)) as connection:
        await declare(connection, topology)
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1000)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.event_sets if sets else topology.events, key)
        made = EventConsumer()
        await queue.consume(made.take_set if sets else made.take)
        yield made
