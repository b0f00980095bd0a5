"""Publishing commands and dead letters, each confirmed by the broker."""

import asyncio
from datetime import datetime

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractMessage
from aio_pika.exceptions import PublishError

from service.contracts.commands import AnyCommand
from service.contracts.topology import Topology
from service.runtime.broker import Broker, BrokerUnavailable, Session, broker_errors, require
from service.runtime.confirms import Confirms
from service.runtime.dead_letters.message import dead_letter_of
from service.runtime.messaging_spans import publishing
from service.runtime.queue_counts import QueueCount
from service.runtime.settings import Settings
from service.runtime.topology import Fault
from service.runtime.tracing import HEADER, current_traceparent

TRY = 30.0  # seconds between two tries whether the broker takes messages


class Publisher:
    """Publishes commands, each confirmed by the broker; mandatory, so a missing queue is an error.

    Declares what the installation has on the broker; ``faults``: what of it was not as it should be when last seen.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._topology = Topology(settings.amqp_prefix)
        self._commands: AbstractExchange | None = None
        self._dead: AbstractExchange | None = None
        self._confirms = Confirms()
        self._complaint: str | None = None
        self._try_at = 0.0
        self.faults: tuple[Fault, ...] = ()
        self.broker = Broker(settings, name, self._open, self._redeclare)

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance."""
        return self.broker.connected

    async def complaint(self) -> str | None:
        """Why no command can be published right now; None when it can. Tried at most every TRY seconds."""
        now = asyncio.get_running_loop().time()
        if now >= self._try_at:
            try:
                self._complaint = await self.broker.complaint(self._topology.commands)
            except BrokerUnavailable as error:
                self._complaint = str(error)
            self._try_at = now + TRY
        return self._complaint

    async def count_queue(self, queue: str) -> QueueCount | None:
        """What is in a queue and who consumes from it, None where it is missing; BrokerUnavailable."""
        return await self.broker.count_queue(queue)

    async def _open(self, session: Session) -> None:
        await self._declare(session)
        channel = await session.channel()
        self._confirms = Confirms()
        self._commands = await channel.get_exchange(self._topology.commands, ensure=False)
        self._dead = await channel.get_exchange(self._topology.dead, ensure=False)

    async def _declare(self, session: Session) -> None:
        self.faults = await session.declare(self._topology)
        require(self.faults, self._topology.commands)

    async def _redeclare(self, session: Session) -> None:
        if self.faults:
            await self._declare(session)

    async def command(self, command: AnyCommand) -> None:
        """Publishes one command; BrokerUnavailable when it was not confirmed."""
        message = aio_pika.Message(
            command.model_dump_json().encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=command.message_id,
            type=command.name,
        )
        await self._publish(self._commands, message, command.name)

    async def dead_letter(
        self, original: AbstractMessage, *, reason: str, source: str, routing_key: str, now: datetime
    ) -> None:
        """Publishes a message that could not be handled, as it came; BrokerUnavailable when it was not confirmed.

        ``source``: the queue it came to, under ``routing_key``.
        """
        letter = dead_letter_of(original, reason=reason, source=source, routing_key=routing_key, now=now)
        await self._publish(self._dead, letter, source)

    async def _publish(self, exchange: AbstractExchange | None, message: aio_pika.Message, key: str) -> None:
        if exchange is None or not self.connected:
            raise BrokerUnavailable("not connected")
        with publishing(exchange.name, key, message.message_id), broker_errors():
            if traceparent := current_traceparent():
                message.headers[HEADER] = traceparent
            try:
                await self._confirms.publish(exchange, message, key)
            except PublishError:
                # The queue is gone. A new session declares it.
                self.broker.end_session("a publish was returned")
                raise
