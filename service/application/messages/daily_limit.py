"""The fuse: how many recipients one sender may have in 24 hours (CONTRACT 2, CLARION_SENDER_RECIPIENTS_PER_DAY).

All counts that POST /conversations sends, of whatever kind and whichever way it came; a scheduled send when it starts.
Replies do not. Nothing is counted while there is no limit.
"""

from service.domain.errors import Refusal, invalid
from service.runtime.settings import Settings
from sql import daily_limit
from sql.connection import Connection


def _exceeded() -> Refusal:
    return invalid("recipients", "daily limit exceeded")


async def count_send(conn: Connection, settings: Settings, sender_id: int, recipients: int) -> None:
    """Counts a send with the transaction in which it is written; Refusal for one beyond the limit.

    What one sender starts in parallel waits here for each other, until it is committed.
    """
    limit = settings.sender_recipients_per_day
    if limit and not await daily_limit.count_send(conn, sender_id, recipients, limit=limit):
        raise _exceeded()


async def check_send(conn: Connection, settings: Settings, sender_id: int, recipients: int) -> None:
    """The Refusal of ``count_send``, were it counted now."""
    limit = settings.sender_recipients_per_day
    if limit and await daily_limit.recipients_started(conn, sender_id) + recipients > limit:
        raise _exceeded()


def check_alone(settings: Settings, recipients: int) -> None:
    """The same for a send on another day: what alone is too much is too much on any."""
    limit = settings.sender_recipients_per_day
    if limit and recipients > limit:
        raise _exceeded()
