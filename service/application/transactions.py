"""Transactions that are repeated after a conflict with others on the same rows."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from service.runtime.postgres import CONFLICT
from sql.connection import Connection

log = structlog.get_logger(__name__)

CONFLICT_RETRIES = 10  # attempts when others change the same rows at the same time

Result = TypeVar("Result")


async def committed(conn: Connection, step: Callable[[], Awaitable[Result]]) -> Result:
    """The step's result once its transaction is committed; after a conflict it runs again, on what the others left.

    Within a transaction that has begun already, it is whoever began that one who commits and repeats.
    """
    if conn.is_in_transaction():
        return await step()
    for _ in range(CONFLICT_RETRIES - 1):
        try:
            return await _once(conn, step)
        except CONFLICT as error:
            log.info("rows_contended", error=type(error).__name__)
    return await _once(conn, step)


async def _once(conn: Connection, step: Callable[[], Awaitable[Result]]) -> Result:
    transaction = conn.transaction()
    await transaction.start()
    try:
        result = await step()
    except BaseException:
        await transaction.rollback()
        raise
    await _to_its_end(transaction.commit())
    return result


async def _to_its_end(commit: Coroutine[Any, Any, None]) -> None:
    """Commits, even when who asked for it is out of time meanwhile: what is answered has to be what happened."""
    task = asyncio.create_task(commit)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        await task
