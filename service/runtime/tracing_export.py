"""Spans by OpenTelemetry's SDK, told to a collector over OTLP/HTTP. Only imported where that is asked for.

Everything else is the SDK's own to read from the environment: OTEL_EXPORTER_OTLP_*, OTEL_RESOURCE_ATTRIBUTES,
OTEL_TRACES_SAMPLER, OTEL_BSP_*. Context comes and goes by service.runtime.tracing, not by the SDK's propagators.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from service.runtime.tracing import Attributes, Kind, Span, TraceContext

SHUTDOWN_TIMEOUT = 5.0  # seconds

_KINDS: dict[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class OtlpExporter:
    """Makes spans; a thread of the SDK tells them in batches."""

    def __init__(self, service_name: str) -> None:
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service_name}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("clarion")

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: TraceContext | None, links: Iterable[TraceContext], attributes: Attributes
    ) -> Iterator[tuple[TraceContext, Span]]:
        """A span that lasts as long as the block and fails with it."""
        before = Context() if parent is None else set_span_in_context(NonRecordingSpan(_to_sdk(parent)), Context())
        with self._tracer.start_as_current_span(
            name,
            context=before,
            kind=_KINDS[kind],
            attributes=dict(attributes),
            links=[Link(_to_sdk(link)) for link in links],
        ) as made:
            yield _from_sdk(made.get_span_context()), _Recorded(made)

    def shutdown(self) -> None:
        """Tells what is not told yet; blocks, SHUTDOWN_TIMEOUT at most.

        The SDK alone would wait 30 seconds for a collector that is away.
        """
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-shutdown", daemon=True)
        ending.start()
        ending.join(SHUTDOWN_TIMEOUT)


class _Recorded(Span):
    def __init__(self, made: SdkSpan) -> None:
        self._made = made

    def rename(self, name: str) -> None:
        self._made.update_name(name)

    def note(self, attributes: Attributes) -> None:
        self._made.set_attributes(dict(attributes))

    def fail(self, reason: str) -> None:
        self._made.set_status(Status(StatusCode.ERROR, reason))


def _to_sdk(context: TraceContext) -> SpanContext:
    flags = TraceFlags(context.flags)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _from_sdk(context: SpanContext) -> TraceContext:
    return TraceContext(format_trace_id(context.trace_id), format_span_id(context.span_id), int(context.trace_flags))
