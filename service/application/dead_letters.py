"""Dead commands brought back to work: the rows that were given up with them are unfinished again (CONTRACT 4)."""

from collections.abc import Sequence
from datetime import timedelta

from pydantic import ValidationError

from service.application.directory.merge import redirect_revived
from service.application.transactions import committed
from service.contracts.commands import (
    AnyCommand,
    DeliverChunk,
    DeliverReply,
    PlanBatch,
    UpdateConversations,
    parse_command,
)
from sql import batch_updates, chunks, pending_replies
from sql.connection import Connection
from sql.merge import lock_merging

# Chunks that are brought back in one transaction: merges and sends wait until it ends.
CHUNKS_AT_ONCE = 20


async def revive(conn: Connection, bodies: Sequence[bytes], *, due_after: timedelta) -> list[str | None]:
    """Why the command of each body has nothing to do, None where it has something, or is no command.

    What was given up becomes unfinished again, to be commanded by a sweeper after ``due_after`` should its dead letter
    not be requeued after all.
    """
    commands = [_command(body) for body in bodies]
    delivers = [(it.batch_id, it.position) for it in commands if isinstance(it, DeliverChunk)]
    plans = [it.batch_id for it in commands if isinstance(it, PlanBatch)]
    replies = [it.reply_id for it in commands if isinstance(it, DeliverReply)]
    updates = [it.progress_id for it in commands if isinstance(it, UpdateConversations)]
    idle: dict[str, str | None] = {}
    for chunk in await _revive_chunks(conn, delivers, due_after) if delivers else ():
        command: AnyCommand = DeliverChunk(batch_id=chunk.batch_id, position=chunk.position)
        idle[command.message_id] = _idle_chunk(chunk)
    for batch in await chunks.plannable_batches(conn, plans) if plans else ():  # with the chunks that are pending again
        idle[PlanBatch(batch_id=batch.batch_id).message_id] = _idle_batch(batch)
    for reply_id in set(replies) - set(await pending_replies.known_replies(conn, replies) if replies else ()):
        idle[DeliverReply(reply_id=reply_id).message_id] = "name a reply that is delivered"
    for update in await batch_updates.revive_progresses(conn, updates, due_after=due_after) if updates else ():
        command = UpdateConversations(progress_id=update.id)
        idle[command.message_id] = _idle_update(update)
    return [None if command is None else idle.get(command.message_id) for command in commands]


async def _revive_chunks(
    conn: Connection, asked: Sequence[tuple[int, int]], due_after: timedelta
) -> list[chunks.FoundChunk]:
    """Brings chunks that were given up back to work, a few at a time; how each of the asked ones was found."""
    each = sorted(set(asked))
    parts = [each[first : first + CHUNKS_AT_ONCE] for first in range(0, len(each), CHUNKS_AT_ONCE)]
    return [found for part in parts for found in await _revive_together(conn, part, due_after)]


async def _revive_together(
    conn: Connection, asked: Sequence[tuple[int, int]], due_after: timedelta
) -> list[chunks.FoundChunk]:
    """Who was merged meanwhile has the message from a chunk of the target's, or gets it there, and not twice."""

    async def step() -> list[chunks.FoundChunk]:
        await lock_merging(conn)
        found = await chunks.revive_chunks(conn, asked, due_after=due_after)
        revived = [(it.batch_id, it.position) for it in found if it.chunk_state == "failed" and _idle_chunk(it) is None]
        if revived:
            await redirect_revived(conn, revived)
        return found

    return await committed(conn, step)


def _command(body: bytes) -> AnyCommand | None:
    try:
        return parse_command(body)
    except ValidationError:
        return None


def _idle_chunk(found: chunks.FoundChunk) -> str | None:
    if found.chunk_state is None:
        return "name a chunk that there is not"
    if found.chunk_state in ("delivered", "skipped"):
        return f"name a chunk that is {found.chunk_state}"
    return "name a chunk of a batch that is cancelled" if found.batch_state == "cancelled" else None


def _idle_batch(found: chunks.FoundBatch) -> str | None:
    match found.state:
        case None:
            return "name a batch that there is not"
        case "created" | "sending":
            return None if found.pending else "name a batch of which nothing is left to plan"
        case "error":
            return "name a batch that ended with chunks that were given up"
        case state:
            return f"name a batch that is {state}"


def _idle_update(found: batch_updates.FoundProgress) -> str | None:
    if found.state is None:
        return "name a batch update that there is not"
    if found.state == "completed":
        return "name a batch update that is completed"
    return "name a batch update that was cancelled" if found.state == "failed" and not found.given_up else None
