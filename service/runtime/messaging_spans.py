"""Spans of messages, named as OpenTelemetry's semantic conventions for RabbitMQ have it."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from service.runtime.tracing import Span, span


def publishing(exchange: str, key: str, message_id: str | None) -> AbstractContextManager[Span]:
    """From handing the message over to its confirm."""
    attributes = {**_attributes("send", "publish", exchange), "messaging.rabbitmq.destination.routing_key": key}
    return span(f"publish {exchange}", "producer", attributes | _id(message_id))


def publishing_set(exchange: str, rows: int, causes: Iterable[object]) -> AbstractContextManager[Span]:
    """What ``rows`` of an outbox tell, until all of it is confirmed, on behalf of the traces of ``causes``."""
    attributes = _attributes("send", "publish", exchange) | {"clarion.outbox.rows": rows}
    return span(f"publish {exchange}", "producer", attributes, links=causes)


def receiving(queue: str, message_id: str | None) -> AbstractContextManager[Span]:
    """From the message's arrival in this process to the moment somebody has time for it."""
    return span(f"receive {queue}", "consumer", _attributes("receive", "receive", queue) | _id(message_id))


def processing(queue: str, message_id: str | None) -> AbstractContextManager[Span]:
    """The work on a message, its acknowledgement included."""
    return span(f"process {queue}", "consumer", _attributes("process", "process", queue) | _id(message_id))


def processing_set(queue: str, count: int, causes: Iterable[object]) -> AbstractContextManager[Span]:
    """The work on ``count`` messages at once, acknowledgement included, on behalf of the traces of ``causes``."""
    attributes = _attributes("process", "process", queue) | {"messaging.batch.message_count": count}
    return span(f"process {queue}", "consumer", attributes, links=causes)


def _attributes(kind: str, name: str, destination: str) -> dict[str, str | int]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": kind,
        "messaging.operation.name": name,
        "messaging.destination.name": destination,
    }


def _id(message_id: str | None) -> dict[str, str | int]:
    return {} if message_id is None else {"messaging.message.id": message_id}
