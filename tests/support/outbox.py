"""Rows of the outbox, for tests of those who take them."""

from datetime import UTC, datetime

from service.domain.event_metadata import Cause
from sql.connection import Connection
from sql.outbox import cause_columns


async def record_message(
    conn: Connection,
    cause: Cause,
    conversation_id: int,
    message_id: int,
    *,
    author_id: int = 42,
    at: datetime | None = None,
) -> None:
    """A message that was delivered, now unless it is said when."""
    await conn.execute(
        "INSERT INTO outbox (lane, event, author_id, created_at, conversation_ids, message_ids, cause, traceparent)"
        " VALUES (outbox_lane($1::bigint), 'delivered', $3, $4, ARRAY[$1], ARRAY[$2::bigint], $5, $6)",
        conversation_id,
        message_id,
        author_id,
        at or datetime.now(UTC),
        *cause_columns(cause),
    )
