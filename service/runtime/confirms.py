"""Publishing many messages at once on one channel, each mandatory and confirmed."""

import asyncio
from dataclasses import dataclass, field

import aio_pika
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import PublishError

from service.runtime.broker import PUBLISH_TIMEOUT


@dataclass
class _Namesakes:
    """Messages of one id that are on their way; ``returned``: what the broker said of one that no queue wanted."""

    waiting: int = 0
    returned: PublishError | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Confirms:
    """The publishes of one channel.

    The broker returns a message without saying which publish it was, and aiormq goes by the message's id: of several
    with one id (a command that was published twice) it takes the latest for returned, and the others for confirmed.
    So these share one outcome here: none of them counts as confirmed when one was returned.
    """

    def __init__(self) -> None:
        self._on_their_way: dict[str, _Namesakes] = {}

    async def publish(self, exchange: AbstractExchange, message: aio_pika.Message, key: str) -> None:
        """Returns when it is confirmed; raises PublishError when no queue wanted it, else what aio-pika raises."""
        if not message.message_id:
            await _publish(exchange, message, key)
            return
        namesakes = self._on_their_way.setdefault(message.message_id, _Namesakes())
        namesakes.waiting += 1
        try:
            await _publish(exchange, message, key)
        except PublishError as returned:
            namesakes.returned = returned
            raise
        finally:
            namesakes.waiting -= 1
            if not namesakes.waiting:
                namesakes.settled.set()
                del self._on_their_way[message.message_id]
        await namesakes.settled.wait()
        if namesakes.returned is not None:
            raise namesakes.returned


async def _publish(exchange: AbstractExchange, message: aio_pika.Message, key: str) -> None:
    await exchange.publish(message, key, mandatory=True, timeout=PUBLISH_TIMEOUT)
