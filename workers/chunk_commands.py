"""Commands of chunks that are published, or known to be missing: no batch waits for one that never was sent."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence

import asyncpg
import structlog

from service.contracts.commands import DeliverChunk
from service.contracts.wording import named
from service.runtime.broker import BrokerUnavailable
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from sql import chunks

log = structlog.get_logger(__name__)


async def publish_or_make_due(pool: asyncpg.Pool, publishes: Sequence[tuple[DeliverChunk, Awaitable[None]]]) -> None:
    """Publishes all at once. What was not confirmed falls due, and BrokerUnavailable is raised.

    A chunk that has been given its turn is else taken for commanded until ``retry_after`` is over, and one that was
    confirmed too late to be known comes twice, which does no harm.
    """
    results = await asyncio.gather(*(publish for _, publish in publishes), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    unsent: defaultdict[int, list[int]] = defaultdict(list)
    for (command, _), result in zip(publishes, results, strict=True):
        if isinstance(result, BrokerUnavailable):
            unsent[command.batch_id].append(command.position)
    if unsent:
        await _make_due(pool, unsent)
    for failure in failures:
        raise failure


async def _make_due(pool: asyncpg.Pool, unsent: Mapping[int, Sequence[int]]) -> None:
    try:
        async with pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            for batch_id, positions in unsent.items():
                await chunks.make_chunks_due(conn, batch_id, positions)
    except (asyncpg.PostgresError, *UNAVAILABLE) as error:
        log.warning("unsent_chunks_wait", batches=list(unsent), error=named(error))
