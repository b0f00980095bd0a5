"""Accepted batches, where a test needs them and not how they came."""

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from sql.batches import NewBatch, insert_batch


class Batches:
    """Accepted batches as rows."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self._conn = conn

    async def accept(self, recipients: Sequence[int], *, chunk_size: int, due_at: datetime | None = None) -> int:
        """A private bulk send by user 1, unplanned and due now unless given otherwise; the batch's id."""
        now = datetime.now(UTC)
        send_id = await self._conn.fetchval(
            "INSERT INTO sends (author_id, created_at, body, private, root_account_ids)"
            " VALUES (1, $1, 'Hello', true, '{1}') RETURNING id",
            now,
        )
        accepted = NewBatch(
            send_id=send_id,
            sender_id=1,
            tags=(),
            user_note=False,
            recipients=recipients,
            chunk_size=chunk_size,
            created_at=now,
            due_at=due_at or now,
        )
        batch_id, _ = await insert_batch(self._conn, accepted)
        return batch_id

    async def set_state(self, batch_id: int, state: str) -> None:
        """As a user who pauses or cancels it would."""
        await self._conn.execute("UPDATE batches SET state = $2 WHERE id = $1", batch_id, state)
