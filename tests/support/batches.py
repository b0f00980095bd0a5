"""Accepted batches, where a test needs them and not how they came."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from sql.batches import NewBatch, insert_batch
from sql.connection import Connection

SENDER = 1


class Batches:
    """Accepted batches as rows."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    async def accept(
        self, recipients: Sequence[int], *, chunk_size: int, patience: timedelta | None = timedelta(), sender: int = 1
    ) -> int:
        """A private bulk send by user 1; the batch's id.

        All its chunks are commanded and taken for lost after ``patience``; None: they wait for their turn.
        """
        said = await self._conn.fetchrow(
            "INSERT INTO sends (author_id, created_at, body, private, root_account_ids)"
            " VALUES ($1, now(), 'Hello', true, '{1}') RETURNING id, created_at",
            sender,
        )
        assert said is not None
        accepted = NewBatch(
            send_id=said["id"],
            sender_id=sender,
            tags=(),
            user_note=False,
            recipients=recipients,
            chunk_size=chunk_size,
            created_at=said["created_at"],
        )
        batch_id = (await insert_batch(self._conn, accepted)).id
        if patience is not None:
            await self._conn.execute(
                "UPDATE chunks SET due_at = now() + $2::interval WHERE batch_id = $1", batch_id, patience
            )
        return batch_id

    async def set_state(self, batch_id: int, state: str) -> None:
        """As a user who pauses or cancels it would."""
        await self._conn.execute("UPDATE batches SET state = $2 WHERE id = $1", batch_id, state)

    async def set_states(self, state: str) -> None:
        """All of them at once."""
        await self._conn.execute("UPDATE batches SET state = $1", state)


async def pending(conn: Connection, batch_id: int) -> list[int]:
    """Positions of the batch's chunks that are not settled, in their order."""
    rows = await conn.fetch(
        "SELECT position FROM chunks WHERE batch_id = $1 AND state = 'pending' ORDER BY position", batch_id
    )
    return [row["position"] for row in rows]


@asynccontextmanager
async def refused(conn: Connection, condition: str) -> AsyncIterator[None]:
    """Meanwhile the database takes no participant row of which that is true."""
    await conn.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'user % is refused', NEW.user_id; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON participants FOR EACH ROW
            WHEN ({condition}) EXECUTE FUNCTION refuse();
        """
    )
    try:
        yield
    finally:
        await conn.execute("DROP FUNCTION refuse() CASCADE")
