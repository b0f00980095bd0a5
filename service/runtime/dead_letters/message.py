"""Dead letters as AMQP messages: what is kept of a message that is put away, and of one that is requeued."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractMessage
from pamqp import encode

from service.domain.dead_letters import Letter, headers_of_death, headers_of_return

# Headers go in one frame together with the reason. What is larger than any publisher's needs is left behind: a frame
# that does not fit would end the connection, with all publishes on it.
HEADERS_LIMIT = 32_768  # bytes as encoded


def dead_letter_of(
    original: AbstractMessage, *, reason: str, source: str, routing_key: str, now: datetime
) -> aio_pika.Message:
    """The dead letter of a message that came to the queue ``source`` under ``routing_key``."""
    kept = _sendable(original.headers)
    return _like(original, headers_of_death(kept, reason=reason, source=source, routing_key=routing_key, now=now))


def requeued_message(letter: Letter, dead: AbstractMessage) -> aio_pika.Message:
    """The message that a dead letter was, to be handled as if it came for the first time."""
    return _like(dead, headers_of_return(letter, _sendable(dead.headers)))


def _like(message: AbstractMessage, headers: Mapping[str, Any]) -> aio_pika.Message:
    """All that a receiver may need; not an expiry, by which the letter would vanish, nor whose connection it was."""
    return aio_pika.Message(
        message.body,
        headers=dict(headers),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )


def _sendable(headers: Mapping[str, Any]) -> dict[str, Any]:
    try:
        size = len(encode.field_table(dict(headers)))
    except (TypeError, ValueError):
        return {}  # of a type that can be received and not sent
    return dict(headers) if size <= HEADERS_LIMIT else {}
