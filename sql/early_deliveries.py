"""Chunks that are delivered because a reader asks for them."""

from datetime import timedelta

from sql.connection import Connection
from sql.statements import Value

_BEGIN = Value[str | None]("begin_early_delivery")


async def begin_early_delivery(conn: Connection, batch_id: int, *, longest_wait: timedelta) -> str | None:
    """The traceparent of a batch; until its end, the transaction waits for each lock that long and then fails."""
    milliseconds = int(longest_wait / timedelta(milliseconds=1))
    return await _BEGIN(conn, batch_id=batch_id, lock_timeout=f"{milliseconds}ms")
