"""The trace that work belongs to: W3C trace context, carried along and told to every log line.

Without an exporter nothing else happens: the traceparent that came in goes out again as it was, and work that came
without one has none. With one (the standard OTEL_* variables), spans are made and told to a collector, and the
traceparent that goes out is that of the span it goes out from. Nothing of OpenTelemetry is imported before.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol

from structlog.contextvars import bound_contextvars

from service.runtime.settings import SettingsError

HEADER = "traceparent"  # of HTTP requests and, by the same name, of AMQP messages

# https://www.w3.org/TR/trace-context/#traceparent-header: later versions may have more behind these four fields.
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)

Kind = Literal["server", "producer", "consumer"]
Attributes = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where in which trace: ids in lower-case hex, 32 and 16 digits; flags as in version 00."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def traceparent(self) -> str:
        """The header's form."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


class Span:
    """What may be told of the work in a span while it lasts; nothing comes of it without an exporter."""

    def rename(self, name: str) -> None:
        """For what is named only when more is known."""

    def note(self, attributes: Attributes) -> None:
        """Attributes, named by OpenTelemetry's semantic conventions."""

    def fail(self, reason: str) -> None:
        """The work failed without raising anything."""


class Exporter(Protocol):
    """What makes spans and tells them to a collector."""

    def span(
        self, name: str, kind: Kind, parent: TraceContext | None, links: Iterable[TraceContext], attributes: Attributes
    ) -> AbstractContextManager[tuple[TraceContext, Span]]:
        """A span that lasts as long as the block and fails with it."""

    def shutdown(self) -> None:
        """Tells what is not told yet; blocks."""


@dataclass(slots=True)
class _Export:
    exporter: Exporter | None = None


_NO_SPAN = Span()
_export = _Export()
_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def parse_traceparent(text: object) -> TraceContext | None:
    """None for what is no valid traceparent: by the standard it is then as if none had come."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not int(found["trace"], 16) or not int(found["span"], 16):
        return None
    return TraceContext(found["trace"], found["span"], int(found["flags"], 16))


def current_traceparent() -> str | None:
    """The traceparent that whatever is caused now should carry; None outside of any trace."""
    context = _current.get()
    return None if context is None else context.traceparent


@contextmanager
def continued(traceparent: object) -> Iterator[None]:
    """The block belongs to the trace that came with a message, a request or a row; to none for None or nonsense."""
    with _within(parse_traceparent(traceparent)):
        yield


@contextmanager
def span(name: str, kind: Kind, attributes: Attributes, *, links: Iterable[object] = ()) -> Iterator[Span]:
    """A span of the present trace, or the first of a new one; ``links``: traceparents of others that it serves.

    Without an exporter the block stays where it is in whatever trace there is.
    """
    if _export.exporter is None:
        yield _NO_SPAN
        return
    linked = [context for link in links if (context := parse_traceparent(link)) is not None]
    with _export.exporter.span(name, kind, _current.get(), linked, attributes) as (context, made), _within(context):
        yield made


@contextmanager
def exporting(service_name: str) -> Iterator[None]:
    """Exports for as long as the block runs, if the environment asks for it.

    SettingsError for what is asked and not known here. ``service_name`` is told where OTEL_SERVICE_NAME tells no
    other. At the end, the collector is told of the last spans; for one that is away nobody waits longer than seconds.
    """
    if not _asked_for(os.environ):
        yield
        return
    from service.runtime.tracing_export import OtlpExporter  # noqa: PLC0415 - much to load where nobody asked for it

    exporter = _export.exporter = OtlpExporter(service_name)
    try:
        yield
    finally:
        _export.exporter = None
        exporter.shutdown()


def _asked_for(environment: Mapping[str, str]) -> bool:
    """By OTEL_TRACES_EXPORTER=otlp, or by an endpoint; OpenTelemetry's own default would export without being asked."""

    def first(*names: str) -> tuple[str, str]:
        found = ((name, environment.get(name, "").strip().lower()) for name in names)
        return next(((name, value) for name, value in found if value), (names[0], ""))

    if first("OTEL_SDK_DISABLED")[1] == "true":
        return False
    name, exporter = first("OTEL_TRACES_EXPORTER")
    if exporter not in ("", "otlp", "none"):
        raise SettingsError(f"{name}: {exporter!r} is not known here; it is otlp or none")
    _, endpoint = first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if exporter == "none" or not (exporter or endpoint):
        return False
    name, protocol = first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        raise SettingsError(f"{name}: {protocol!r} is not known here; it is http/protobuf")
    return True


@contextmanager
def _within(context: TraceContext | None) -> Iterator[None]:
    token = _current.set(context)
    ids = {} if context is None else {"trace_id": context.trace_id, "span_id": context.span_id}
    try:
        with bound_contextvars(**ids):
            yield
    finally:
        _current.reset(token)
