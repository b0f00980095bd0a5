"""Export of spans over OTLP/HTTP, by OpenTelemetry's SDK, where the standard OTEL_* variables ask for it.

Whether to export is read here, because the SDK alone would always export; the SDK reads all else itself:
OTEL_EXPORTER_OTLP_*, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace

from service.runtime.settings import SettingsError

SHUTDOWN_TIMEOUT = 5.0  # seconds


@contextmanager
def exporting(service_name: str) -> Iterator[None]:
    """Exports for as long as the block runs, if the environment asks for it; once in a process.

    SettingsError for what is asked and not known here. ``service_name`` counts where OTEL_SERVICE_NAME names no
    other. At the end the last spans are exported, which takes SHUTDOWN_TIMEOUT at most.
    """
    if not _asked_for(os.environ):
        yield
        return
    # Not loaded where nothing is exported: they take a tenth of the CPU time in which a worker starts.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service_name}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        # The SDK alone would wait 30 seconds for a collector that is away.
        ending = threading.Thread(target=provider.shutdown, name="tracing-shutdown", daemon=True)
        ending.start()
        ending.join(SHUTDOWN_TIMEOUT)


def _asked_for(environment: Mapping[str, str]) -> bool:
    """By OTEL_TRACES_EXPORTER=otlp, or by an endpoint."""

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
