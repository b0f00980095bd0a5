"""Delivery of one chunk: read it, then write its messages and advance it in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.application.messages.recheck import take_out_unreachable
from service.application.messages.tag_sets import TagSets, chunk_tags, retag
from service.domain.event_metadata import Cause
from sql import chunks, deliveries, sends
from sql.address_book import instructed_by
from sql.connection import Connection
from sql.deliveries import Succession


@dataclass(frozen=True, slots=True)
class Nothing:
    """There was nothing to deliver; states of the chunk and of its batch, None when there is no such chunk."""

    chunk_state: str | None
    batch_state: str | None


@dataclass(frozen=True, slots=True)
class ChunkOutcome:
    """What was delivered; conversation ids when they were asked for, and the chunk that is to be commanded now."""

    recipients: int
    reused: int
    conversation_ids: tuple[int, ...] = ()
    next_position: int | None = None


async def read_chunk(conn: Connection, batch_id: int, position: int) -> chunks.PendingChunk | Nothing:
    """What a delivery needs to know of a chunk; for one that is done it is all there is to do."""
    found = await chunks.read_chunk(conn, batch_id, position)
    if isinstance(found, chunks.PendingChunk):
        return found
    return Nothing(found.chunk_state, found.batch_state) if found else Nothing(None, None)


async def deliver_chunk(
    conn: Connection,
    tag_sets: TagSets,
    pending: chunks.PendingChunk,
    *,
    cause: Cause | None,
    succession: Succession | None = None,
    want_ids: bool = False,
) -> ChunkOutcome | Nothing:
    """Delivers a chunk that was read before, within the caller's transaction; Nothing when it was settled meanwhile.

    With a ``succession`` another chunk of the batch takes its place among those that are commanded.
    Where its batch was stopped in between, without those who are not to get it any more: they are skipped with it.

    Raises asyncpg.UniqueViolationError or DeadlockDetectedError after a conflict with another send: the
    caller rolls back and calls again, and the second attempt reuses the conversations of the other send.
    """
    if not pending.recheck:
        return await _write(conn, tag_sets, pending, cause=cause, succession=succession, want_ids=want_ids)
    attempt = conn.transaction()
    await attempt.start()
    rest = await take_out_unreachable(conn, pending)
    outcome = await _write(conn, tag_sets, rest, cause=cause, succession=succession, want_ids=want_ids)
    await (attempt.rollback() if isinstance(outcome, Nothing) else attempt.commit())
    return outcome


async def _write(
    conn: Connection,
    tag_sets: TagSets,
    pending: chunks.PendingChunk,
    *,
    cause: Cause | None,
    succession: Succession | None,
    want_ids: bool,
) -> ChunkOutcome | Nothing:
    numbers = await chunk_tags(conn, tag_sets, pending)
    delivered = await deliveries.deliver(
        conn,
        pending.message,
        first_id=pending.first_id,
        tag_sets=numbers.conversation,
        own_tag_sets=numbers.own,
        sender_tag_sets=numbers.sender,
        cause=cause,
        chunk=(pending.batch_id, pending.position),
        rechecked=pending.recheck,
        succession=succession,
        want_ids=want_ids,
    )
    if delivered.claimed is None:
        found = await read_chunk(conn, pending.batch_id, pending.position)
        if isinstance(found, Nothing):
            return found
        if (found.first_id, found.recheck) == (pending.first_id, pending.recheck):
            return Nothing("pending", None)
        # After it was read, a merge of accounts changed its recipients, or its batch was stopped and goes on.
        return await deliver_chunk(conn, tag_sets, found, cause=cause, succession=succession, want_ids=want_ids)
    if delivered.retagged:
        await retag(conn, tag_sets, pending.tags, delivered.retagged)
    if pending.user_note:
        # The chunk may have been cut since it was read: its own are the first of those.
        await note_recipients(conn, pending.message, pending.recipients[: delivered.claimed])
    return ChunkOutcome(delivered.claimed, delivered.reused, tuple(delivered.conversation_ids), delivered.next_position)


async def deliver_at_once(
    conn: Connection, tag_sets: TagSets, batch_id: int, position: int, *, cause: Cause | None
) -> ChunkOutcome | Nothing:
    """Reads and delivers a chunk in one transaction, the caller's, and brings its conversation ids."""
    pending = await read_chunk(conn, batch_id, position)
    if isinstance(pending, Nothing):
        return pending
    return await deliver_chunk(conn, tag_sets, pending, cause=cause, want_ids=True)


async def note_recipients(conn: Connection, message: sends.Message, recipients: Sequence[int]) -> None:
    """user_note: a faculty journal entry for each recipient whose instructor the author is (CONTRACT 3)."""
    students = await instructed_by(conn, message.author_id, recipients)
    if students:
        await sends.insert_journal_entries(conn, message.send_id, students)
