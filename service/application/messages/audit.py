"""The audit of batches that have ended: who was to get it, by the chunks, has it, by the inboxes.

What has changed since by right is no difference: a recipient deletes or archives what came, an account is merged into
another, an administrator takes a conversation from all. What counts as delivered and is not there is written, in the
shape of a delivery (sql/queries/audits.sql); counters are set to the recipients by state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from service.application.messages.tag_sets import TagSets, chunk_tags
from service.domain.event_metadata import Cause
from sql import audits
from sql.audits import AuditRow, MissingCopy, Recount
from sql.connection import Connection

CHUNKS = 5  # of one turn: 10,000 recipients at most
OPENED = 1000  # audits that one turn begins at most
SHOWN = 20  # users that are named in a report
PATIENCE = timedelta(minutes=2)  # of an audit, as long as any batch is under way: deliveries go first
RETRY = timedelta(minutes=1)  # before a turn that has failed is tried again


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn found. ``recipients`` were compared; ``missing`` of them lacked something and have it now.

    ``counters``: those of a batch that did not agree with its recipients. ``audited``: the batch is done, and these are
    the numbers of all its turns.
    """

    batch_id: int
    recipients: int = 0
    missing: Sequence[MissingCopy] = ()
    counters: Recount | None = None
    audited: tuple[int, int] | None = None


class AuditFailed(Exception):
    """A turn came to nothing, for the reason that this is raised from; nothing has changed."""

    def __init__(self, batch_id: int) -> None:
        super().__init__(f"the audit of batch {batch_id} has failed")
        self.batch_id = batch_id


async def audit_next(conn: Connection, tag_sets: TagSets, cause: Callable[[int], Cause | None]) -> Turn | None:
    """The next few chunks of the batch that ended first, in a transaction of its own; None: there is nothing to do.

    ``cause`` of the events of what is written, by batch id. Several workers, in any number of processes, share the
    batches; one that is killed leaves its turn to the next. Raises AuditFailed.
    """
    await audits.open_audits(conn, limit=OPENED)
    row = None
    try:
        async with conn.transaction():
            row = await audits.take_audit(conn, patience=PATIENCE)
            return None if row is None else await _turn(conn, tag_sets, row, cause(row.batch_id))
    except asyncpg.PostgresError as error:
        if row is None:
            raise
        raise AuditFailed(row.batch_id) from error


async def put_off(conn: Connection, batch_id: int, error: str) -> None:
    """After AuditFailed: it is tried again later, and the others go on."""
    await audits.postpone_audit(conn, batch_id, error=error, wait=RETRY)


async def _turn(conn: Connection, tag_sets: TagSets, row: AuditRow, cause: Cause | None) -> Turn:
    batch_id = row.batch_id
    if not row.ended:
        await audits.finish_audit(conn, batch_id, row.ended_at)
        return Turn(batch_id)
    span = await audits.next_span(conn, batch_id, after=row.position, limit=CHUNKS)
    if span.until == row.position:
        counters = await _count(conn, batch_id, row.ended_at)
        await audits.finish_audit(conn, batch_id, row.ended_at)
        return Turn(batch_id, counters=counters, audited=(row.recipients, row.missing))
    missing = await audits.find_missing(conn, batch_id, after=row.position, until=span.until)
    if missing:  # one chunk at a time, which locks no more than its delivery did
        span = await audits.next_span(conn, batch_id, after=row.position, limit=1)
        missing = await _restore(conn, tag_sets, row, span.until, cause)
    await audits.pass_audit(conn, batch_id, position=span.until, recipients=span.recipients, missing=len(missing))
    return Turn(batch_id, span.recipients, missing)


async def _restore(
    conn: Connection, tag_sets: TagSets, row: AuditRow, until: int, cause: Cause | None
) -> list[MissingCopy]:
    """Writes what is missing in the chunk at ``until``; looks again first, when no merge can move it meanwhile."""
    await audits.keep_merges_out(conn)
    missing = await audits.find_missing(conn, row.batch_id, after=row.position, until=until)
    if not missing:  # a merge was under way
        return missing
    chunk = await audits.read_missing(conn, row.batch_id, missing)
    numbers = await chunk_tags(conn, tag_sets, chunk)
    await audits.restore_copies(
        conn,
        row.batch_id,
        until,
        missing,
        tag_sets=numbers.conversation,
        own_tag_sets=numbers.own,
        sender_tag_sets=numbers.sender,
        cause=cause,
    )
    await audits.show_restored(conn, chunk.message.author_id, missing)
    return missing


async def _count(conn: Connection, batch_id: int, ended_at: datetime) -> Recount | None:
    """The counters that did not agree, if so; those of a batch that goes on already are not looked at."""
    if not await audits.lock_ended_batch(conn, batch_id, ended_at):
        return None
    found = await audits.recount_batch(conn, batch_id)
    return found if found.differs or found.listed != found.total else None
