"""The institution's feed of directory events, as its systems would publish it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import orjson
from aio_pika.abc import AbstractExchange

from service.contracts.topology import Topology
from service.runtime.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
UNCONFIRMED = 500  # publishes on their way at once


def directory_event(name: str, seconds: float = 0, /, **body: Any) -> bytes:
    """An event as it is published; ``seconds`` after START it happened."""
    metadata = {
        "event_name": name,
        "event_time": (START + timedelta(seconds=seconds)).isoformat(),
        "producer": "canvas",
    }
    return orjson.dumps({"metadata": metadata, "body": body}, default=str)


def name_of(event: bytes) -> str:
    """The routing key of an event, also of one that is none."""
    try:
        return str(orjson.loads(event)["metadata"]["event_name"])
    except (ValueError, LookupError, TypeError):
        return "unreadable"


class Feed:
    """Publishes persistently, confirmed and mandatory, in order."""

    def __init__(self, exchange: AbstractExchange) -> None:
        self._exchange = exchange

    async def publish(self, *events: bytes) -> None:
        """Returns when the broker has all of them."""
        for start in range(0, len(events), UNCONFIRMED):
            await asyncio.gather(*map(self._publish, events[start : start + UNCONFIRMED]))

    async def _publish(self, event: bytes) -> None:
        message = aio_pika.Message(event, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._exchange.publish(message, name_of(event), mandatory=True)


@asynccontextmanager
async def feed(settings: Settings) -> AsyncIterator[Feed]:
    """Connected for as long as the block runs; the installation has declared its exchanges."""
    async with await aio_pika.connect(str(settings.amqp_url)) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(Topology(settings.amqp_prefix).directory, ensure=False)
        yield Feed(exchange)
