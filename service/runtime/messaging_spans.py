"""Spans of messages, named as OpenTelemetry's semantic conventions for RabbitMQ have it."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry.trace import Span, SpanKind

from service.runtime.tracing import Attributes, span, span_context


def publishing(exchange: str, key: str, message_id: str | None) -> AbstractContextManager[Span]:
    """From handing the message over to its confirm."""
    routed: Attributes = {"messaging.rabbitmq.destination.routing_key": key}
    return _span("publish", exchange, _id(message_id) | routed)


def publishing_set(exchange: str, rows: int, causes: Iterable[object]) -> AbstractContextManager[Span]:
    """The events of ``rows`` of an outbox, until all are confirmed, on behalf of the traces of ``causes``."""
    return _linked(_span("publish", exchange, {"clarion.outbox.rows": rows}), causes)


def receiving(queue: str, message_id: str | None) -> AbstractContextManager[Span]:
    """From the message's arrival in this process to the moment a lane is free for it."""
    return _span("receive", queue, _id(message_id))


def processing(queue: str, message_id: str | None) -> AbstractContextManager[Span]:
    """The work on a message, its acknowledgement included."""
    return _span("process", queue, _id(message_id))


def processing_set(queue: str, count: int, causes: Iterable[object]) -> AbstractContextManager[Span]:
    """The work on ``count`` messages at once, acknowledgement included, on behalf of the traces of ``causes``."""
    return _linked(_span("process", queue, {"messaging.batch.message_count": count}), causes)


def _span(operation: str, destination: str, attributes: Attributes) -> AbstractContextManager[Span]:
    publish = operation == "publish"
    named: Attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send" if publish else operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": destination,
    }
    kind = SpanKind.PRODUCER if publish else SpanKind.CONSUMER
    return span(f"{operation} {destination}", kind, named | attributes)


@contextmanager
def _linked(begun: AbstractContextManager[Span], causes: Iterable[object]) -> Iterator[Span]:
    with begun as made:
        if made.is_recording():  # or hundreds of traceparents are read for nothing
            for cause in causes:
                made.add_link(span_context(cause))
        yield made


def _id(message_id: str | None) -> Attributes:
    return {} if message_id is None else {"messaging.message.id": message_id}
