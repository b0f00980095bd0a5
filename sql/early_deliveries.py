"""Chunks that are delivered because a reader asks for them."""

from datetime import timedelta
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import One, Single, Value


class AwaitedRow(NamedTuple):
    """Where a reader's chunk stands in its batch, and who else is in it; null: too many for a reader to wait for."""

    position: int
    recipients: list[int] | None


class SliceRow(NamedTuple):
    """What was cut out of a chunk."""

    position: int
    recipients: list[int]


_BEGIN = Value[str | None]("begin_early_delivery")
_LOCK_AWAITED = One("lock_awaited", AwaitedRow)
_LOCK_RUNNING = Value[int | None]("lock_running")
_CUT = Single("cut_slice", SliceRow)


async def begin_early_delivery(conn: Connection, batch_id: int, *, longest_wait: timedelta) -> str | None:
    """The traceparent of a batch; until its end, the transaction waits for each lock that long and then fails."""
    milliseconds = int(longest_wait / timedelta(milliseconds=1))
    return await _BEGIN(conn, batch_id=batch_id, lock_timeout=f"{milliseconds}ms")


async def lock_awaited(conn: Connection, batch_id: int, user_id: int, *, whole: int) -> AwaitedRow | None:
    """The pending chunk that has this user, locked; with its recipients where they are ``whole`` at most."""
    return await _LOCK_AWAITED(conn, batch_id=batch_id, user_id=user_id, whole=whole)


async def cut_slice(conn: Connection, batch_id: int, position: int, user_id: int, *, size: int) -> SliceRow | None:
    """Cuts ``size`` recipients, the user among them, out of a locked chunk; None when its batch was stopped."""
    if await _LOCK_RUNNING(conn, batch_id=batch_id) is None:
        return None
    return await _CUT(conn, batch_id=batch_id, position=position, user_id=user_id, size=size)
