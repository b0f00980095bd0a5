"""Who of a chunk is still to get it, where its batch was stopped in between (CONTRACT 3.1 and 3.6)."""

from dataclasses import replace

from service.application.address_book.recipients import sender_rights, still_reachable
from service.domain.batch import SkipReason
from service.domain.contexts import Context, ContextType
from service.domain.recipients import parse
from sql import rechecks
from sql.address_book import existing_users
from sql.chunks import PendingChunk
from sql.connection import Connection


async def take_out_unreachable(conn: Connection, pending: PendingChunk) -> PendingChunk:
    """The chunk without those who were deleted meanwhile, or whom its sender can no longer reach; they are skipped.

    In the transaction of the delivery, which does not take place where the chunk was settled or changed meanwhile: then
    it has to be rolled back, or they would be skipped before the others have their message.
    """
    reasons = await _reasons(conn, pending)
    if not reasons:
        return pending
    await rechecks.take_out(conn, pending.batch_id, pending.position, first_id=pending.first_id, reasons=reasons)
    return replace(pending, recipients=[user_id for user_id in pending.recipients if user_id not in reasons])


async def _reasons(conn: Connection, pending: PendingChunk) -> dict[int, SkipReason]:
    """By recipient, of those who are not to get it."""
    reach = await rechecks.read_reach(conn, pending.batch_id)
    context = None
    if reach.context_type is not None and reach.context_id is not None:
        context = Context(ContextType(reach.context_type), reach.context_id)
    named = parse([*reach.audiences, *map(str, pending.recipients)])
    known = await sender_rights(conn, reach.sender_id, named, context.code if context else None)
    found = await still_reachable(
        conn, known, pending.recipients, named, context, conversation_id=reach.from_conversation_id
    )
    lost = [user_id for user_id in pending.recipients if user_id not in found]
    there = set(await existing_users(conn, lost)) if lost else set()
    return {
        user_id: SkipReason.NO_LONGER_REACHABLE if user_id in there else SkipReason.USER_DELETED for user_id in lost
    }
