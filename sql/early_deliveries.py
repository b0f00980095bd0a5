"""Chunks that are delivered because a reader asks for them."""

from datetime import timedelta
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import One, Value


class SliceRow(NamedTuple):
    """Where the chunk that a reader waits for stands in its batch, and all who are in it."""

    position: int
    recipients: list[int]


_BEGIN = Value[str | None]("begin_early_delivery")
_CUT = One("cut_slice", SliceRow)


async def begin_early_delivery(conn: Connection, batch_id: int, *, longest_wait: timedelta) -> str | None:
    """The traceparent of a batch; until its end, the transaction waits for each lock that long and then fails."""
    return await _BEGIN(conn, batch_id=batch_id, lock_timeout=_milliseconds(longest_wait))


async def cut_slice(
    conn: Connection, batch_id: int, user_id: int, *, size: int, whole: int, longest_wait: timedelta
) -> SliceRow | None:
    """The pending chunk that has this user; one of more than ``whole`` recipients is cut, and has ``size`` then.

    In no transaction of the caller's. None: there is none, or others have cut it meanwhile. Raises
    asyncpg.LockNotAvailableError where others hold it for longer than that.
    """
    return await _CUT(
        conn, batch_id=batch_id, user_id=user_id, size=size, whole=whole, lock_timeout=_milliseconds(longest_wait)
    )


def _milliseconds(wait: timedelta) -> str:
    return f"{int(wait / timedelta(milliseconds=1))}ms"
