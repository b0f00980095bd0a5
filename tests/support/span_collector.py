"""An OpenTelemetry collector: takes spans over OTLP/HTTP and keeps them."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.waiting import until


@dataclass(frozen=True)
class Span:
    """A finished span; ids in hex, "" for the parent of the first."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, str | int]
    failed: bool


@dataclass
class Collector:
    """``finished``: every span so far, in the order of arrival."""

    url: str = ""
    finished: list[Span] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        body = await request.read()
        sent = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        for resource in sent.resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.finished.append(
                        Span(
                            service=service,
                            name=span.name,
                            kind=span.kind,
                            trace=span.trace_id.hex(),
                            id=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            links=tuple(link.trace_id.hex() for link in span.links),
                            attributes={a.key: a.value.string_value or a.value.int_value for a in span.attributes},
                            failed=span.status.code == span.status.STATUS_CODE_ERROR,
                        )
                    )
        return web.Response(content_type="application/x-protobuf")

    def named(self, name: str) -> list[Span]:
        """The spans of that name, in the order of their ends."""
        return [span for span in self.finished if span.name == name]

    async def until(self, condition: Callable[["Collector"], object]) -> None:
        """Returns when the condition holds of the finished spans."""
        await until(lambda: bool(condition(self)))


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Listening for as long as the block runs."""
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
