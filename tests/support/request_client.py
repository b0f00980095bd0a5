"""A client that sends messages without HTTP: publishes to the exchange of requests and receives the answers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import orjson
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from service.contracts.topology import CREATE_CONVERSATION, Topology
from service.runtime.settings import Settings
from tests.support.waiting import until


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    status: int
    body: Any
    headers: Mapping[str, Any]
    correlation_id: str | None

    @property
    def replayed(self) -> bool:
        """Whether it says that it is an earlier answer."""
        return self.headers.get("Idempotency-Replayed") == "true"


@dataclass
class RequestClient:
    """``answers``: everything so far, in the order in which it came. ``queue``: where answers are to go."""

    channel: AbstractChannel
    topology: Topology
    queue: str
    answers: list[Answer] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Reads the answer, and acknowledges it."""
        await self.take_unacknowledged(message)
        await message.ack()

    async def take_unacknowledged(self, message: AbstractIncomingMessage) -> None:
        """Reads it by its contract: two keys and not one more."""
        said = orjson.loads(message.body)
        assert said.keys() == {"status", "body"}
        assert message.content_type == "application/json"
        self.answers.append(Answer(said["status"], said["body"], dict(message.headers), message.correlation_id))

    async def publish(self, body: bytes, **properties: Any) -> None:
        """Confirmed and mandatory; the answer goes to ``reply_to``."""
        exchange = await self.channel.get_exchange(self.topology.requests, ensure=False)
        message = aio_pika.Message(
            body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **{"reply_to": self.queue, **properties}
        )
        await exchange.publish(message, CREATE_CONVERSATION, mandatory=True)

    async def ask(self, request: Mapping[str, Any] | bytes) -> Answer:
        """The answer, which is found by its correlation id."""
        correlation_id = f"asked-{next(self._numbers)}"
        body = request if isinstance(request, bytes) else orjson.dumps(request)
        await self.publish(body, correlation_id=correlation_id)
        await until(lambda: any(a.correlation_id == correlation_id for a in self.answers))
        return next(a for a in self.answers if a.correlation_id == correlation_id)

    async def ask_all(self, *requests: Mapping[str, Any]) -> list[Answer]:
        """The answers to requests that are asked at once, in the order of the requests."""
        return list(await asyncio.gather(*map(self.ask, requests)))

    async def waiting(self, how_many: int) -> None:
        """Returns when so many requests wait in the queue and are with no consumer."""

        async def waits() -> bool:
            declared = await self.channel.declare_queue(self.topology.requests, passive=True)
            return declared.declaration_result.message_count == how_many

        await until(waits)


@asynccontextmanager
async def request_client(settings: Settings, durable: str = "") -> AsyncIterator[RequestClient]:
    """Connected for as long as the block runs; the installation has declared its exchanges.

    ``durable``: name of a queue for answers that outlives the connection, and a restart of the broker.
    """
    async with await aio_pika.connect(str(settings.amqp_url)) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        queue = await channel.declare_queue(durable or None, durable=bool(durable), exclusive=not durable)
        made = RequestClient(channel, Topology(settings.amqp_prefix), queue.name)
        await queue.consume(made.take)
        yield made
