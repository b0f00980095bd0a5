"""The W3C trace context that work belongs to, kept by OpenTelemetry's API and named by every log line.

Without an exporter (service.runtime.tracing_export) nothing records: the traceparent that came in goes out again as
it was, and work that came without one has none. With one, what goes out is the span it goes out from.

OpenTelemetry's instrumentations of aiohttp and aio-pika are not used: they carry the context in headers only, while
here it also waits in rows, and they know neither the events, which do not pass through aio-pika's publish, nor work
on many messages at once. The propagator is taken directly; opentelemetry.propagate looks through all packages for it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    Span,
    SpanContext,
    SpanKind,
    format_span_id,
    format_trace_id,
    get_current_span,
    get_tracer,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict, WrappedLogger

HEADER = "traceparent"  # of HTTP requests and, by the same name, of AMQP messages

Attributes = dict[str, str | int]  # named by OpenTelemetry's semantic conventions

_TRACER = get_tracer("clarion")
_W3C = TraceContextTextMapPropagator()


def span(name: str, kind: SpanKind, attributes: Attributes) -> AbstractContextManager[Span]:
    """The block is a span of the present trace, or the first of a new one, and fails with what it raises.

    What start_as_current_span does, at half its price for the many blocks of which no span is recorded.
    """
    return use_span(_TRACER.start_span(name, kind=kind, attributes=attributes), end_on_exit=True)


@contextmanager
def continued(traceparent: object) -> Iterator[None]:
    """The block belongs to the trace that came with a message, a request or a row; to none for None or nonsense."""
    token = attach(_context(traceparent))
    try:
        yield
    finally:
        detach(token)


def current_traceparent() -> str | None:
    """The traceparent that whatever is caused now should carry; None outside of any trace."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get(HEADER)


def span_context(traceparent: object) -> SpanContext:
    """The span that a traceparent names; an invalid one for None or nonsense, as if none had come."""
    return get_current_span(_context(traceparent)).get_span_context()


def add_trace(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """A processor of structlog: every line within a trace has its ``trace_id`` and ``span_id``, in hex."""
    context = get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"], line["span_id"] = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return line


def _context(traceparent: object) -> Context:
    return _W3C.extract({HEADER: traceparent}, Context()) if isinstance(traceparent, str) else Context()
