"""Recipients of a batch: what became of each, and those who are taken out of their chunk."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from service.domain.batch_recipients import RecipientState
from sql.connection import Connection
from sql.statements import Command, Many


class RecipientRow(NamedTuple):
    """One recipient. Ids are null unless it is delivered; ``error``: of a failed or skipped one why."""

    user_id: int
    state: str
    conversation_id: int | None
    message_id: int | None
    error: str | None
    updated_at: datetime


class ChunkKey(NamedTuple):
    """Which chunk."""

    batch_id: int
    position: int


_LIST = Many("list_recipients", RecipientRow)
_LOCK_WAITING = Many("lock_waiting_for_deleted", ChunkKey)
_LEAVE_OUT = Command("leave_out_deleted")


async def list_recipients(
    conn: Connection, batch_id: int, states: Sequence[RecipientState], *, after: int, limit: int
) -> list[RecipientRow]:
    """Recipients in these states with ids above ``after``, ascending."""
    return await _LIST(conn, batch_id=batch_id, states=states, after=after, limit=limit)


async def leave_out_deleted(conn: Connection, user_ids: Collection[int]) -> int:
    """Takes those of the users who are deleted out of what waits for them; returns from how many chunks.

    In the caller's transaction. What is being delivered at the moment is left alone.
    """
    users = sorted(user_ids)
    found = await _LOCK_WAITING(conn, user_ids=users)
    if found:
        batch_ids, positions = [key.batch_id for key in found], [key.position for key in found]
        await _LEAVE_OUT(conn, batch_ids=batch_ids, positions=positions, user_ids=users)
    return len(found)
