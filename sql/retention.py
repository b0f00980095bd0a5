"""What is removed after its time (CONTRACT 2): who the recipients of a batch were, and batch updates; in bites."""

from datetime import timedelta

from sql.connection import Connection
from sql.statements import Value

_BEGIN = Value[int]("begin_forgetting")
_RECIPIENTS = Value[int]("forget_recipients")
_FINISH = Value[int]("finish_forgetting")
_PROGRESSES = Value[int]("forget_progresses")


async def begin_forgetting(conn: Connection, *, older_than: timedelta, limit: int) -> int:
    """Marks batches that ended so long ago: from now on their recipients are not shown. Returns how many."""
    return await _BEGIN(conn, older_than=older_than, limit=limit)


async def forget_recipients(conn: Connection, *, limit: int) -> int:
    """Removes chunks and skipped recipients of marked batches, so many of each at most; returns how many."""
    return await _RECIPIENTS(conn, limit=limit)


async def finish_forgetting(conn: Connection, *, limit: int) -> int:
    """Marks batches of which nothing is left but their counters; returns how many."""
    return await _FINISH(conn, limit=limit)


async def forget_progresses(conn: Connection, *, older_than: timedelta, limit: int) -> int:
    """Removes batch updates that ended so long ago; returns how many."""
    return await _PROGRESSES(conn, older_than=older_than, limit=limit)
