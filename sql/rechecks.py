"""Rechecks: who of a batch that was stopped in between is still to get it."""

from collections.abc import Mapping
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Command, Single


class Reach(NamedTuple):
    """By which way a sender reached a batch's recipients; ``audiences``: codes as parse takes them."""

    sender_id: int
    audiences: list[str]
    from_conversation_id: int | None
    context_type: str | None
    context_id: int | None


_READ_REACH = Single("read_reach", Reach)
_TAKE_OUT = Command("take_out")


async def read_reach(conn: Connection, batch_id: int) -> Reach:
    """Of a batch that there is."""
    return await _READ_REACH(conn, batch_id=batch_id)


async def take_out(
    conn: Connection, batch_id: int, position: int, *, first_id: int, reasons: Mapping[int, str]
) -> None:
    """Takes recipients out of a pending chunk, in the transaction that delivers it; ``reasons`` by their ids.

    Does nothing where the chunk is settled, or another than was read.
    """
    await _TAKE_OUT(
        conn,
        batch_id=batch_id,
        position=position,
        first_id=first_id,
        user_ids=list(reasons),
        reasons=list(reasons.values()),
    )
