"""Moves of a batch by its sender: cancel, pause, resume, retry (CONTRACT 3.1)."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType

from service.application.directory.merge import redirect_revived
from service.application.transactions import committed
from service.domain.batch import MOVABLE, Move, allows
from service.domain.errors import Code, Refusal
from service.domain.event_metadata import Cause
from sql import batch_moves
from sql.batches import Batch, find_batch
from sql.connection import Connection
from sql.merge import lock_merging

# Whether its state allowed it.
_Step = Callable[[Connection, int, Cause | None], Awaitable[bool]]


async def move_batch(
    conn: Connection,
    move: Move,
    batch_id: int,
    sender_id: int,
    *,
    accounts: Collection[int] | None,
    cause: Cause | None,
) -> Batch:
    """The batch as the move leaves it, committed; ``accounts`` as find_batch takes them.

    Refusal(NOT_FOUND) for a batch of another sender, Refusal(CONFLICT) where its state does not allow the move: of two
    that are made at once, for the second.
    """

    async def find() -> Batch:
        found = await find_batch(conn, batch_id, sender_id, accounts=accounts)
        if found is None:
            raise Refusal(Code.NOT_FOUND)
        return found

    async def step() -> Batch:
        before = await find()
        if not allows(before.progress, move) or not await _STEPS[move](conn, batch_id, cause):
            raise Refusal(Code.CONFLICT, f"does not allow to {move}", attribute="state")
        return await find()

    return await committed(conn, step)


async def _cancel(conn: Connection, batch_id: int, cause: Cause | None) -> bool:
    return await batch_moves.cancel_batch(conn, batch_id, MOVABLE[Move.CANCEL], cause)


async def _pause(conn: Connection, batch_id: int, cause: Cause | None) -> bool:
    return await batch_moves.pause_batch(conn, batch_id, MOVABLE[Move.PAUSE], cause)


async def _resume(conn: Connection, batch_id: int, cause: Cause | None) -> bool:
    return await batch_moves.resume_batch(conn, batch_id, MOVABLE[Move.RESUME], cause)


async def _retry(conn: Connection, batch_id: int, cause: Cause | None) -> bool:
    """Who was merged since a chunk was given up gets its message under the account that has all of theirs now."""
    await lock_merging(conn)
    await batch_moves.lock_unsettled_chunks(conn, batch_id)
    await batch_moves.settle_cancelled(conn, cause, batch_id=batch_id)  # or it would be sent as well
    positions = await batch_moves.retry_batch(conn, batch_id, MOVABLE[Move.RETRY], cause)
    if positions:
        await redirect_revived(conn, [(batch_id, position) for position in positions])
    return positions is not None


_STEPS: Mapping[Move, _Step] = MappingProxyType(
    {Move.CANCEL: _cancel, Move.PAUSE: _pause, Move.RESUME: _resume, Move.RETRY: _retry}
)
