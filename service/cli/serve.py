"""``clarion migrate``, ``clarion api`` and ``clarion worker``."""

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import asyncpg
import structlog
import typer
import uvloop

from service.api import server
from service.api.app import build_app
from service.runtime import logs, tracing
from service.runtime.broker import Publisher
from service.runtime.postgres import close_pool, create_pool
from service.runtime.settings import Settings, load
from service.runtime.signals import stop_event
from sql import migrate as migrations
from workers import process

log = structlog.get_logger(__name__)


def migrate() -> None:
    """Bring the schema up to date; safe to run from many hosts at once."""
    settings = load()

    async def run() -> list[str]:
        conn = await asyncpg.connect(str(settings.database_url), timeout=10)
        try:
            return await migrations.migrate(conn)
        finally:
            await conn.close()

    applied = asyncio.run(run())
    typer.echo(f"applied {', '.join(applied)}" if applied else "up to date")


def api() -> None:
    """The HTTP gateway; any number behind a load balancer."""
    settings = load()
    logs.configure(settings)
    with tracing.exporting("clarion-api"):
        uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then lets open requests finish."""
    stop = stop_event()
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings)
        stack.push_async_callback(close_pool, pool)
        publisher = Publisher(settings, "clarion-api")
        await publisher.broker.start()
        stack.push_async_callback(publisher.broker.stop)
        runner = await server.start(build_app(settings, pool, publisher), host=settings.host, port=settings.port)
        stack.push_async_callback(runner.cleanup)
        log.info("api_started", url=settings.base_url, addresses=[list(address) for address in runner.addresses])
        await stop.wait()
        log.info("api_draining")


def worker(
    only: Annotated[list[str] | None, typer.Option(help="Run just this consumer; may be repeated.")] = None,
) -> None:
    """Every consumer in one process, or those picked with --only."""
    names = list(dict.fromkeys(only or process.WORKERS))
    unknown = [name for name in names if name not in process.WORKERS]
    if unknown:
        known = ", ".join(process.WORKERS)
        raise typer.BadParameter(f"no consumer {', '.join(unknown)}; there are {known}", param_hint="--only")
    settings: Settings = load()
    logs.configure(settings)
    with tracing.exporting("clarion-worker"):
        uvloop.run(process.run(settings, names))
