"""Servers that variables name: used as they are, never started, stopped or replaced."""

from urllib.parse import urlsplit

import asyncpg

from deploy.amqp import FAILURES, server_version
from deploy.binaries import OLDEST_POSTGRES, OLDEST_RABBITMQ
from deploy.failure import CannotRun
from service.runtime.broker_faults import unreachable
from service.runtime.database_hosts import reason_of
from service.runtime.settings import nodes_of

_PATIENCE = 10.0  # seconds


async def check_database(url: str) -> None:
    """CannotRun names CLARION_DATABASE_URL when its server cannot be reached or is too old."""
    try:
        conn = await asyncpg.connect(url, timeout=_PATIENCE)
        try:
            major = int(await conn.fetchval("SHOW server_version_num")) // 10000
        finally:
            await conn.close()
    except (OSError, ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotRun(_unreachable(url, error)) from None
    if major < OLDEST_POSTGRES:
        raise CannotRun(f"CLARION_DATABASE_URL: PostgreSQL {OLDEST_POSTGRES} or newer is needed, this is {major}")


async def check_amqp(urls: str) -> None:
    """CannotRun names CLARION_AMQP_URL when none of its nodes can be reached, or one is too old."""
    reasons = []
    for url in nodes_of(urls):
        try:
            _check_release(await server_version(url, patience=_PATIENCE))
        except FAILURES as error:
            reasons.append(unreachable(url, error))
        else:
            return
    raise CannotRun("; ".join(reasons))


def _check_release(version: str) -> None:
    parts = version.split(".")[:2]
    if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < OLDEST_RABBITMQ:
        raise CannotRun(f"CLARION_AMQP_URL: RabbitMQ 3.10 or newer is needed, this is {version}")


def _unreachable(url: str, error: Exception) -> str:
    try:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        place = "what it names"
    return f"CLARION_DATABASE_URL: cannot reach {place}: {reason_of(error)}"
