"""Recipients of a batch: what became of each, and those who are taken out of their chunk."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from service.domain.batch_recipients import RecipientState
from sql.connection import Connection
from sql.statements import Many


class RecipientRow(NamedTuple):
    """One recipient. Ids are null unless it is delivered; ``error``: of a failed or skipped one why."""

    user_id: int
    state: str
    conversation_id: int | None
    message_id: int | None
    error: str | None
    updated_at: datetime


_LIST = Many("list_recipients", RecipientRow)


async def list_recipients(
    conn: Connection, batch_id: int, states: Sequence[RecipientState], *, after: int, limit: int
) -> list[RecipientRow]:
    """Recipients in these states with ids above ``after``, ascending."""
    return await _LIST(conn, batch_id=batch_id, states=states, after=after, limit=limit)
