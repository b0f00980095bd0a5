"""Publishing answers to the queues that requests name in ``reply_to``."""

from collections.abc import Mapping

import aio_pika
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import PublishError

from service.runtime.broker import PUBLISH_TIMEOUT, Broker, BrokerUnavailable, Session, broker_errors
from service.runtime.messaging_spans import publishing
from service.runtime.settings import Settings
from service.runtime.tracing import HEADER, current_traceparent


class AnswerPublisher:
    """Publishes through the default exchange, confirmed and mandatory.

    On a connection of its own: the broker closes a channel for what it does not allow, and other work must not notice.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._exchange: AbstractExchange | None = None
        self.broker = Broker(settings, name, self._open)

    @property
    def connected(self) -> bool:
        """Whether a publish has a chance."""
        return self.broker.connected

    async def _open(self, session: Session) -> None:
        channel = await session.channel()
        self._exchange = channel.default_exchange

    async def publish(
        self, queue: str, body: bytes, *, kind: str, correlation_id: str | None, headers: Mapping[str, str]
    ) -> bool:
        """False when there is no such queue; BrokerUnavailable when the answer was not confirmed."""
        exchange = self._exchange
        if exchange is None or not self.connected:
            raise BrokerUnavailable("not connected")
        message = aio_pika.Message(
            body,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=correlation_id,
            type=kind,
            headers=dict(headers),
        )
        with publishing("", queue, correlation_id), broker_errors():
            if traceparent := current_traceparent():
                message.headers[HEADER] = traceparent
            try:
                await exchange.publish(message, queue, mandatory=True, timeout=PUBLISH_TIMEOUT)
            except PublishError:
                return False
        return True
