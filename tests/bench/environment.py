"""The surroundings of a run: a fresh database and broker names of its own, gone afterwards."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, redirect_stdout
from functools import partial
from typing import Any, NoReturn, TypeVar

import aio_pika
import asyncpg

from deploy.environment import STATE
from deploy.lifetime import run_until_stopped
from deploy.servers import servers
from service.application.transactions import committed
from service.contracts.topology import Topology
from service.runtime.settings import Settings
from sql import migrate
from sql.connection import Connection
from tests.support.ledger import DATABASE, PREFIX, close_ledger, ledger

T = TypeVar("T")

HOT_TABLES = ("conversations", "participants", "messages", "message_views", "sends", "batches", "chunks", "outbox")


async def on_servers(work: Coroutine[Any, Any, T]) -> T:
    """Does the work on the servers that the two variables name, or else on private ones of the checkout."""
    STATE.mkdir(mode=0o755, exist_ok=True)
    # What starting servers has to say is progress; stdout is for the report.
    with redirect_stdout(sys.stderr):
        async with servers(STATE) as found:
            os.environ.update(found.environment())
            try:
                return await work
            finally:
                close_ledger()


def print_report(work: Coroutine[Any, Any, dict[str, Any]]) -> NoReturn:
    """The whole of a benchmark's program: does the work on those servers, and prints as JSON what it has found."""

    async def printed() -> int:
        sys.stdout.write(json.dumps(await on_servers(work), indent=2, ensure_ascii=False) + "\n")
        return 0

    run_until_stopped("bench", printed())


@asynccontextmanager
async def fresh_settings(*, migrated: bool = True) -> AsyncIterator[Settings]:
    """Default settings on a migrated, empty database; only the limit of private bulk sends is raised.

    Without ``migrated`` it has no tables.
    """
    name = f"bench-{uuid.uuid4().hex[:12]}"
    ledger().take(DATABASE, name)
    ledger().take(PREFIX, name)
    server = os.environ["CLARION_DATABASE_URL"]
    settings = Settings(
        database_url=_with_database(server, name),
        amqp_url=os.environ["CLARION_AMQP_URL"],
        amqp_prefix=name,
        max_bulk_private_recipients=10_000_000,
    )
    admin = await asyncpg.connect(server)
    await admin.execute(f'CREATE DATABASE "{name}"')
    try:
        if migrated:
            conn = await asyncpg.connect(str(settings.database_url))
            await migrate.migrate(conn)
            await conn.close()
        yield settings
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()
        await _delete_queues(settings)


@asynccontextmanager
async def second_settings(settings: Settings) -> AsyncIterator[Settings]:
    """The same database for a second installation, with names of its own on the broker."""
    second = settings.model_copy(update={"amqp_prefix": f"{settings.amqp_prefix}-beside"})
    try:
        yield second
    finally:
        await _delete_queues(second)


def _with_database(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    return base.rsplit("/", 1)[0] + "/" + name + ("?" + query if query else "")


async def _delete_queues(settings: Settings) -> None:
    topology = Topology(settings.amqp_prefix)
    async with await aio_pika.connect(str(settings.amqp_url)) as connection:
        channel = await connection.channel()
        for queue in topology.queues:
            await channel.queue_delete(queue.name)
        for exchange in topology.exchanges:
            await channel.exchange_delete(exchange.name)


async def empty(conn: Connection) -> None:
    """No conversation, message or batch is left; the institution stays.

    Whoever reads several of the tables meanwhile locks them in an order of their own.
    """
    await committed(conn, partial(conn.execute, f"TRUNCATE {', '.join(HOT_TABLES)}"))


async def forget_events(conn: Connection) -> None:
    """Nothing is left to relay."""
    await conn.execute("TRUNCATE outbox")


async def relayed(conn: Connection, *, rows: int | None = None) -> None:
    """Returns when nothing is left to relay, or so many rows less than now."""
    waiting = await conn.fetchval("SELECT count(*) FROM outbox")
    left = 0 if rows is None else max(waiting - rows, 0)
    while waiting > left:
        await asyncio.sleep(0.2)
        waiting = await conn.fetchval("SELECT count(*) FROM outbox")


async def settle(conn: Connection) -> None:
    """What was written so far is on disk, and statistics are fresh, so that the next part pays only for itself."""
    await conn.execute("VACUUM (ANALYZE)")
    await checkpoint(conn)


async def checkpoint(conn: Connection) -> None:
    """What was written so far is on disk."""
    await conn.execute("CHECKPOINT")
