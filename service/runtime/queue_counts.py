"""What is in a queue and who consumes from it, as the broker says when the queue is looked for.

Looking needs no permission (service/runtime/topology.py). A queue that is not there closes the channel, so there is one
for this alone: it is kept as long as its connection, and what is missing is looked for again only after a while.
"""

import asyncio
from typing import NamedTuple

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelLockedResource, ChannelNotFoundEntity

LOOK_AGAIN = 60.0  # seconds until a queue that was missing is looked for again


class QueueCount(NamedTuple):
    """``messages``: without those that a consumer has and has not settled. A queue without a leader says 0 and 0."""

    messages: int
    consumers: int


class QueueCounts:
    """Counts over one connection, one queue at a time."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._channel: AbstractChannel | None = None
        self._missing: dict[str, float] = {}

    async def count(self, queue: str) -> QueueCount | None:
        """None where there is no such queue."""
        now = asyncio.get_running_loop().time()
        if now < self._missing.get(queue, now):
            return None
        try:
            if self._channel is None:
                self._channel = await self._connection.channel(publisher_confirms=False)
            declared = (await self._channel.declare_queue(queue, passive=True)).declaration_result
        except (ChannelNotFoundEntity, ChannelLockedResource):
            self._channel = None
            self._missing[queue] = now + LOOK_AGAIN
            return None
        except BaseException:
            self._channel = None  # whose answer was not waited for, the client library closes
            raise
        return QueueCount(declared.message_count or 0, declared.consumer_count or 0)
