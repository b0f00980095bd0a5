"""Browsing the queue of dead letters (CONTRACT 4).

Dead letters stay in their queue, in their order. A quorum queue keeps that order for messages that are browsed only
in one way, found by trying on 3.10: they are consumed and not settled, by at most 32 consumers one after the other,
and their channel then ends, by closing or with its connection. Messages of basic.get, and those requeued by more than
32 consumers at once, come back in any order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import ceil
from typing import cast

from aio_pika import IncomingMessage
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.abc import DeliveredMessage

from service.contracts.topology import Topology
from service.domain.dead_letters import DeadLetter, read_dead_letter
from service.runtime.broker import (
    CLOSE_TIMEOUT,
    PUBLISH_TIMEOUT,
    BrokerUnavailable,
    Session,
    broker_errors,
    connect_to_any,
)
from service.runtime.settings import BrokerSettings

CONSUMERS = 25  # of one browser at most, one after the other; fewer than 32
MOST_HELD = 65_535  # messages that a consumer can hold
LEAST_HELD = 2_000  # messages that a consumer may hold; so many bodies may be in memory at once
SILENCE = 2.0  # seconds without a message until the queue is asked whether there are any
SILENCES = 15  # of them until the queue counts as not answering
BACK_WITHIN = 5.0  # seconds in which the broker requeues what was browsed; it does not say when it has
POLL = 0.02  # seconds


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter, held as long as the browser is open, and how it came."""

    letter: DeadLetter
    delivered: DeliveredMessage

    @property
    def message(self) -> AbstractIncomingMessage:
        """With all properties. It costs as much as reading the letter, and a list needs none of them."""
        return IncomingMessage(self.delivered)


class Browser:
    """All dead letters that no other consumer held at its beginning, each once. Not settled, they stay in place."""

    def __init__(self, channel: AbstractChannel, watch: AbstractChannel, broken: asyncio.Event, queue: str) -> None:
        self._channel = channel
        self._watch = watch
        self._broken = broken
        self._queue = queue
        self._arrived: deque[DeliveredMessage] = deque()
        self._arrival = asyncio.Event()
        self._per_consumer = 0
        self._consumers = 0
        self._current: str | None = None
        self._room = 0  # messages that the current consumer may still be given
        self._held: dict[int, None] = {}  # delivery tags of what was found and not removed, in their order

    async def waiting(self) -> int:
        """How many messages no consumer holds."""
        declared = await self._watch.declare_queue(self._queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def letters(self) -> AsyncIterator[Found]:
        """In the order of the queue, as many as there were at the beginning. BrokerUnavailable when it ends before."""
        with broker_errors():
            count = await self.waiting()
            self._per_consumer = min(max(LEAST_HELD, ceil(count / CONSUMERS)), MOST_HELD)
            await self._channel.set_qos(prefetch_count=self._per_consumer)
        for _ in range(count):
            if not self._arrived:
                with broker_errors():
                    if not await self._more():
                        return
            delivered = self._arrived.popleft()
            self._held[_tag(delivered)] = None
            self._room -= delivered.consumer_tag == self._current
            properties = delivered.header.properties
            letter = read_dead_letter(delivered.body, properties.headers or {}, message_id=properties.message_id)
            yield Found(letter, delivered)

    async def remove(self, found: Sequence[Found]) -> None:
        """Takes dead letters, in their order, out of the queue, for good once ``end`` has returned."""
        if not found:
            return
        tags = [_tag(each.delivered) for each in found]
        for tag in tags:
            del self._held[tag]
        with broker_errors():
            wire = await self._channel.get_underlay_channel()
            if next(iter(self._held), tags[-1]) < tags[-1]:  # others before it stay
                for tag in tags:
                    await wire.basic_ack(tag, wait=False)
            else:
                await wire.basic_ack(tags[-1], multiple=True)
        self._room += sum(each.delivered.consumer_tag == self._current for each in found)

    async def end(self) -> None:
        """Returns when what was not removed is back in the queue, or another consumer has it."""
        with broker_errors():
            expected = await self.waiting() + len(self._held)
            await self._channel.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(BACK_WITHIN):
                    while True:
                        if await self.waiting() >= expected:
                            return
                        await asyncio.sleep(POLL)

    async def _more(self) -> bool:
        """Returns when more have arrived; False when all that is left is held by another consumer."""
        silences = 0
        while not self._arrived:
            if self._room == 0:
                await self._consume()
            if await self._wait_for_arrival():
                silences = 0
            elif await self.waiting() == 0:
                return False
            elif (silences := silences + 1) == SILENCES:
                raise BrokerUnavailable(f"{self._queue} has letters and does not hand them out")
            if self._broken.is_set() and not self._arrived:
                raise BrokerUnavailable("the connection was lost")
        return True

    async def _consume(self) -> None:
        """One more consumer, by a name behind those before: in that order their messages are requeued.

        By aiormq: aio-pika makes two tasks and a message of its own of each delivery.
        """
        self._current = f"look-{self._consumers:02}"
        self._consumers += 1
        self._room = self._per_consumer
        wire = await self._channel.get_underlay_channel()
        await wire.basic_consume(self._queue, self._receive, consumer_tag=self._current, timeout=PUBLISH_TIMEOUT)

    async def _receive(self, delivered: DeliveredMessage) -> None:
        self._arrived.append(delivered)
        self._arrival.set()

    async def _wait_for_arrival(self) -> bool:
        self._arrival.clear()
        if self._arrived:
            return True
        waits = [asyncio.create_task(event.wait()) for event in (self._arrival, self._broken)]
        try:
            done, _ = await asyncio.wait(waits, timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)


def _tag(delivered: DeliveredMessage) -> int:
    return cast(int, delivered.delivery_tag)  # no delivery is without


@asynccontextmanager
async def browse(settings: BrokerSettings) -> AsyncIterator[Browser]:
    """A browser of the dead letters; BrokerUnavailable where it cannot be had. Declares nothing."""
    topology = Topology(settings.amqp_prefix)
    async with connected(settings) as session:
        with broker_errors():
            if not await session.has_queue(topology.dead):
                raise BrokerUnavailable(
                    f"there is no queue {topology.dead} at this broker: is CLARION_AMQP_PREFIX right, and has a"
                    " clarion worker been started?"
                )
            browser = Browser(await session.channel(), await session.channel(), session.broken, topology.dead)
        yield browser
        await browser.end()


@asynccontextmanager
async def connected(settings: BrokerSettings) -> AsyncIterator[Session]:
    """A connection of its own for as long as the block runs; BrokerUnavailable where it cannot be had."""
    connection = await connect_to_any(str(settings.amqp_url), "clarion-dead")
    try:
        yield Session(connection)
    finally:
        with suppress(BrokerUnavailable, TimeoutError), broker_errors():
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await connection.close()
