"""What the broker itself can take: frames that were encoded before, over a socket without any library in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection
from pamqp.frame import FrameTypes, marshal, unmarshal
from pamqp.header import ContentHeader
from pydantic import AmqpDsn
from yarl import URL

from service.contracts.events import VERSION, VERSION_HEADER
from service.domain.outbox import Encoded
from service.runtime.event_publisher import PERSISTENT

_GREETING = b"AMQP\x00\x00\x09\x01"
_CHANNEL = 1
_HEAD = 7  # bytes of a frame in front of its payload, of which the last four are its length; behind it there is one
_ON_THEIR_WAY = 1000  # as the relay has


class BareSocket:
    """One channel with confirms."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def frame(self) -> FrameTypes:
        """The next frame that the broker sends."""
        head = await self._reader.readexactly(_HEAD)
        rest = await self._reader.readexactly(int.from_bytes(head[3:]) + 1)
        return unmarshal(head + rest)[2]

    async def ask(self, *frames: FrameTypes, channel: int = 0) -> FrameTypes:
        """Sends frames; the answer."""
        self._writer.write(b"".join(marshal(frame, channel) for frame in frames))
        return await self.frame()

    async def publish(self, messages: Sequence[bytes]) -> None:
        """Returns when all are confirmed."""
        sent = confirmed = 0
        while confirmed < len(messages):
            room = min(len(messages), confirmed + _ON_THEIR_WAY)
            if sent < room:
                self._writer.write(b"".join(messages[sent:room]))
                sent = room
            answer = await self.frame()
            assert isinstance(answer, Basic.Ack), answer
            confirmed = answer.delivery_tag if answer.multiple else confirmed + 1


@asynccontextmanager
async def bare_socket(url: str) -> AsyncIterator[BareSocket]:
    """Connected; the URL of one node without TLS."""
    node = URL(str(AmqpDsn(url)))
    reader, writer = await asyncio.open_connection(node.host, node.port or 5672)
    made = BareSocket(reader, writer)
    writer.write(_GREETING)
    await made.frame()
    plain = f"\0{node.user}\0{node.password}"
    tune = await made.ask(Connection.StartOk(client_properties={}, mechanism="PLAIN", response=plain, locale="en_US"))
    assert isinstance(tune, Connection.Tune), tune
    tuned = Connection.TuneOk(channel_max=tune.channel_max, frame_max=tune.frame_max, heartbeat=0)
    await made.ask(tuned, Connection.Open(virtual_host=node.path[1:] or "/"))
    await made.ask(Channel.Open(), channel=_CHANNEL)
    await made.ask(Confirm.Select(), channel=_CHANNEL)
    try:
        yield made
    finally:
        writer.close()
        await writer.wait_closed()


def frames_of(event: Encoded, exchange: str) -> bytes:
    """The event as one publish on the channel."""
    properties = Basic.Properties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        headers={VERSION_HEADER: VERSION},
        message_id=event.message_id,
        message_type=event.name,
    )
    parts: tuple[FrameTypes, ...] = (
        Basic.Publish(exchange=exchange, routing_key=event.name, mandatory=True),
        ContentHeader(body_size=len(event.body), properties=properties),
        ContentBody(event.body),
    )
    return b"".join(marshal(part, _CHANNEL) for part in parts)
