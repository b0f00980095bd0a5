"""A chunk that cannot be written is cut in two: a recipient who cannot be written to fails alone (CONTRACT 3.1)."""

from datetime import timedelta

import structlog

from sql import chunks
from sql.connection import Connection

log = structlog.get_logger(__name__)

# How often chunks of one batch are cut in two: so many times, and once for each so many recipients; beyond that, twice
# for each chunk that was delivered, since eleven cuts take one recipient out of 2000 and let ten chunks be delivered.
# Where everything fails, 100,000 recipients end in 2,150 chunks instead of 100,000.
FREE_SPLITS, FOR_EACH = 100, 50
MOST_SPLITS = 50_000  # whatever was delivered


async def cut_in_two(
    conn: Connection, batch_id: int, position: int, *, error: str, patience: timedelta, redeliveries: int = 0
) -> int | None:
    """Position of the second half, the first keeps its own; None for a chunk that cannot be cut, or not any more.

    Within the caller's transaction. ``patience`` and ``redeliveries`` as split_chunk takes them.
    """
    bounds = {"free": FREE_SPLITS, "for_each": FOR_EACH, "most": MOST_SPLITS}
    if not await chunks.begin_split(conn, batch_id, position, **bounds):
        return None
    second = await chunks.split_chunk(
        conn, batch_id, position, error=error, redeliveries=redeliveries, patience=patience
    )
    log.warning("chunk_split", batch_id=batch_id, position=position, second=second, error=error)
    return second
