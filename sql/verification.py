"""Proof that a bulk send reached everybody once."""

from dataclasses import dataclass

from sql.connection import Connection
from sql.statements import text_of

_COPIES = text_of("count_copies")


@dataclass(frozen=True, slots=True)
class Copies:
    """Recipients of a batch, and for how many of them it went wrong."""

    recipients: int
    duplicates: int  # more than one copy
    missing: int  # no copy where the batch says it is


async def count_copies(conn: Connection, batch_id: int) -> Copies:
    """Counts the copies that the recipients of a finished batch have. The sender's own rows do not count."""
    (row,) = await conn.fetch(_COPIES, batch_id)
    return Copies(row["recipients"], row["duplicates"], row["missing"])
