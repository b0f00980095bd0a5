"""Writing where others write the same rows."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from service.runtime.postgres import CONFLICT
from sql.connection import Connection

log = structlog.get_logger(__name__)

CONFLICT_RETRIES = 10  # attempts when others change the same rows at the same time

Result = TypeVar("Result")


async def committed(conn: Connection, step: Callable[[], Awaitable[Result]]) -> Result:
    """The step's result once its transaction is committed; after a conflict it runs again, on what the others left."""
    for _ in range(CONFLICT_RETRIES - 1):
        try:
            async with conn.transaction():
                return await step()
        except CONFLICT as error:
            log.info("rows_contended", error=type(error).__name__)
    async with conn.transaction():
        return await step()
