"""Every command of a finished batch once more, as after a broker that forgot what was acknowledged."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from service.contracts.commands import DeliverChunk
from service.runtime.broker import Publisher
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.bench.resources import next_transaction, rows_written_since
from tests.processes import Process

_TIMEOUT = 60  # seconds


@dataclass(frozen=True)
class Redelivered:
    """What it took to find nothing to do."""

    commands: int
    seconds: float
    rows_written: int


async def redeliver(
    conn: Connection, settings: Settings, workers: Sequence[Process], batch_id: int
) -> Redelivered:
    """From the first publish to the last command handled, by whichever worker."""
    positions = [
        row["position"] for row in await conn.fetch("SELECT position FROM chunks WHERE batch_id = $1", batch_id)
    ]
    before = _handled(workers)
    transaction = await next_transaction(conn)
    publisher = Publisher(settings, "bench")
    await publisher.broker.start()
    async with asyncio.timeout(_TIMEOUT):
        while not publisher.connected:
            await asyncio.sleep(0.01)
        start = perf_counter()
        await asyncio.gather(*(publisher.command(DeliverChunk(batch_id=batch_id, position=p)) for p in positions))
        while _handled(workers) < before + len(positions):
            await asyncio.sleep(0.001)
        seconds = perf_counter() - start
    await publisher.broker.stop()
    return Redelivered(len(positions), seconds, await rows_written_since(conn, transaction))


def _handled(workers: Sequence[Process]) -> int:
    return sum("nothing_to_deliver" in line for worker in workers for line in worker.lines)
