"""``clarion api``."""

import asyncio
from contextlib import AsyncExitStack

import structlog
import typer
import uvloop

from service.api import server
from service.api.app import build_app
from service.api.figures import FIGURES
from service.api.keys import READINESS
from service.runtime import logs
from service.runtime.database_hosts import following
from service.runtime.listening import listening
from service.runtime.postgres import close_pool, create_pool, look_at_schema
from service.runtime.probe_server import ProbeServer
from service.runtime.publisher import Publisher
from service.runtime.replica import REPLICA_SHARE
from service.runtime.settings import Settings, load
from service.runtime.signals import stop_event
from service.runtime.tracing_export import exporting

log = structlog.get_logger(__name__)

app = typer.Typer(add_completion=False)


@app.command()
def api() -> None:
    """The HTTP gateway; any number behind a load balancer."""
    settings = load()
    logs.configure(settings)
    with exporting("clarion-api"):
        uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then says so for a while, and lets open requests finish."""
    stop = stop_event()
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings, within=settings.request_timeout)
        stack.push_async_callback(close_pool, pool)
        await stack.enter_async_context(following(str(settings.database_url)))
        await look_at_schema(pool)
        replica_pool = None
        if settings.database_read_url is not None:
            url = str(settings.database_read_url)
            # So that there is time left for the primary when the replica has taken too much.
            replica_pool = await create_pool(settings, url=url, within=settings.request_timeout * REPLICA_SHARE)
            stack.push_async_callback(close_pool, replica_pool)
        publisher = Publisher(settings, "clarion-api")
        await publisher.broker.start()
        stack.push_async_callback(publisher.broker.stop)
        gateway = build_app(settings, pool, publisher, replica_pool=replica_pool)
        if settings.metrics_port is not None:
            figures = ProbeServer(gateway[READINESS], "api", count=gateway[FIGURES].renew)
            stack.push_async_callback(figures.stop)
            with listening(settings.host, settings.metrics_port, variable="CLARION_METRICS_PORT"):
                await figures.start(host=settings.host, port=settings.metrics_port, figures_only=True)
        with listening(settings.host, settings.port):
            runner = await server.start(gateway, host=settings.host, port=settings.port)
        stack.push_async_callback(runner.cleanup)
        log.info("api_started", url=settings.base_url, addresses=[list(address) for address in runner.addresses])
        await stop.wait()
        log.info("api_draining", seconds=settings.drain_delay)
        gateway[READINESS].draining.set()
        await asyncio.sleep(settings.drain_delay)  # balancers go on asking while they notice
