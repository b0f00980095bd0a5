"""Browsing the queue of dead letters (CONTRACT 4).

Dead letters stay in their queue, in their order. A quorum queue keeps that order for messages that are browsed only
in one way, found by trying on 3.10: they are consumed and not settled, by at most 32 consumers one after the other,
and their channel then ends, by closing or with its connection. Messages of basic.get, and those requeued by more than
32 consumers at once, come back in any order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import ceil

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

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
    """A dead letter, held as long as the browser is open."""

    letter: DeadLetter
    message: AbstractIncomingMessage


class Browser:
    """All dead letters that no other consumer held at its beginning, each once. Not settled, they stay in place."""

    def __init__(self, channel: AbstractChannel, watch: AbstractChannel, broken: asyncio.Event, queue: str) -> None:
        self._channel = channel
        self._watch = watch
        self._broken = broken
        self._queue = queue
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._arrival = asyncio.Event()
        self._per_consumer = 0
        self._consumers = 0
        self._current: str | None = None
        self._room = 0  # messages that the current consumer may still be given
        self._held = 0

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
            with broker_errors():
                message = await self._next()
            if message is None:
                return
            self._held += 1
            self._room -= message.consumer_tag == self._current
            yield Found(read_dead_letter(message.body, message.headers, message_id=message.message_id), message)

    async def remove(self, found: Found) -> None:
        """Takes a dead letter out of the queue, for good once ``end`` has returned."""
        with broker_errors():
            await found.message.ack()
        self._held -= 1
        self._room += found.message.consumer_tag == self._current

    async def end(self) -> None:
        """Returns when what was not removed is back in the queue, or another consumer has it."""
        with broker_errors():
            expected = await self.waiting() + self._held
            await self._channel.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(BACK_WITHIN):
                    while True:
                        if await self.waiting() >= expected:
                            return
                        await asyncio.sleep(POLL)

    async def _next(self) -> AbstractIncomingMessage | None:
        """None when all that is left is held by another consumer."""
        silences = 0
        while self._arrived.empty():
            if self._room == 0:
                await self._consume()
            if await self._wait_for_arrival():
                silences = 0
            elif await self.waiting() == 0:
                return None
            elif (silences := silences + 1) == SILENCES:
                raise BrokerUnavailable(f"{self._queue} has letters and does not hand them out")
            if self._broken.is_set() and self._arrived.empty():
                raise BrokerUnavailable("the connection was lost")
        return self._arrived.get_nowait()

    async def _consume(self) -> None:
        """One more consumer, by a name behind those before: in that order their messages are requeued."""
        self._current = f"look-{self._consumers:02}"
        self._consumers += 1
        self._room = self._per_consumer
        queue = await self._channel.get_queue(self._queue, ensure=False)
        await queue.consume(self._receive, consumer_tag=self._current, timeout=PUBLISH_TIMEOUT)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        self._arrived.put_nowait(message)
        self._arrival.set()

    async def _wait_for_arrival(self) -> bool:
        self._arrival.clear()
        if not self._arrived.empty():
            return True
        waits = [asyncio.create_task(event.wait()) for event in (self._arrival, self._broken)]
        try:
            done, _ = await asyncio.wait(waits, timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)


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
