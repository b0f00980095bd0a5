"""Delivery of one chunk: claim, write, advance, in one transaction of four statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.application import address_book
from service.application.tagging import TagSets, chunk_tags, retag
from sql import chunks, sends
from sql.connection import Connection


@dataclass(frozen=True, slots=True)
class ChunkOutcome:
    """What became of a chunk; ``recipients`` is 0 when there was nothing to deliver.

    The states are those of the chunk and of its batch, None when there is no such chunk.
    """

    recipients: int
    reused: int
    chunk_state: str | None
    batch_state: str | None
    conversation_ids: tuple[int, ...] = ()


async def deliver_chunk(
    conn: Connection, tag_sets: TagSets, batch_id: int, position: int, *, want_ids: bool = False
) -> ChunkOutcome:
    """Delivers a chunk within the caller's transaction; a second call for the same chunk finds nothing to do.

    Raises asyncpg.UniqueViolationError or DeadlockDetectedError when another send opened or changed the same
    threads meanwhile: the caller rolls back and calls again, and the second attempt reuses them.
    """
    claimed = await chunks.claim_chunk(conn, batch_id, position)
    if claimed is None:
        return ChunkOutcome(0, 0, None, None)
    if isinstance(claimed, chunks.Unclaimed):
        return ChunkOutcome(0, 0, claimed.chunk_state, claimed.batch_state)
    numbers = await chunk_tags(conn, tag_sets, claimed)
    delivered = await chunks.deliver(
        conn,
        claimed.message,
        first_id=claimed.first_id,
        tag_sets=numbers.conversation,
        own_tag_sets=numbers.own,
        sender_tag_sets=numbers.sender,
        now=datetime.now(UTC),
        chunk=(batch_id, position),
        want_ids=want_ids,
    )
    if delivered.retagged:
        await retag(conn, tag_sets, claimed.tags, delivered.retagged)
    if claimed.user_note:
        await note_recipients(conn, claimed.message, claimed.recipients)
    return ChunkOutcome(
        len(claimed.recipients),
        delivered.reused,
        "delivered",
        delivered.batch_state,
        tuple(delivered.conversation_ids),
    )


async def note_recipients(conn: Connection, message: chunks.Message, recipients: Sequence[int]) -> None:
    """user_note: a faculty journal entry for each recipient whose instructor the author is (CONTRACT 3)."""
    students = await address_book.instructs(conn, author_id=message.author_id, recipients=recipients)
    if students:
        await sends.insert_journal_entries(conn, message.send_id, students)
