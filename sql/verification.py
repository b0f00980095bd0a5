"""Proof that a bulk send reached each recipient once."""

from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Single


class Copies(NamedTuple):
    """Recipients of a batch, and for how many of them it went wrong."""

    recipients: int
    duplicates: int  # more than one copy
    missing: int  # no copy where the batch says it is


_COUNT_COPIES = Single("count_copies", Copies)


async def count_copies(conn: Connection, batch_id: int) -> Copies:
    """Counts the copies that the recipients of a finished batch have. The sender's own rows do not count."""
    return await _COUNT_COPIES(conn, batch_id=batch_id)
