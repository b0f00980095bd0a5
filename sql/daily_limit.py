"""How many recipients a sender has had in the last 24 hours, where that is limited."""

from sql.connection import Connection
from sql.statements import Command, Value

# The first number of a sender's advisory lock. Any constant will do that no other lock has.
_SENDERS = 7_206_111

_LOCK = Command("lock_sender")
_STARTED = Value[int]("recipients_started")
_COUNT = Value[bool]("count_send")


async def recipients_started(conn: Connection, sender_id: int) -> int:
    """Recipients of all that the sender started in the last 24 hours, as far as it was counted."""
    return await _STARTED(conn, sender_id=sender_id)


async def count_send(conn: Connection, sender_id: int, recipients: int, *, limit: int) -> bool:
    """Counts a send, unless the sender goes beyond the limit with it: then False.

    Until the transaction ends, others that count for the same sender wait.
    """
    await _LOCK(conn, lock_class=_SENDERS, sender_id=sender_id)
    # A statement of its own: it sees what was committed while the lock was waited for.
    return await _COUNT(conn, sender_id=sender_id, size=recipients, limit=limit)
