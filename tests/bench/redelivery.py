"""Every command of a finished batch once more, as from a broker that forgot what was acknowledged."""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aio_pika

from service.contracts.commands import DeliverChunk
from service.contracts.topology import Topology
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.bench.resources import next_transaction, rows_written_since
from tests.support.processes import Process
from tests.support.waiting import until

# The audit of a batch and the measure of its time each mark its row, a few seconds after its end.
_AT_REST = """
SELECT count(*) = 0 FROM batches
WHERE finished_at > coalesce(audited_end, '-infinity') OR finished_at > coalesce(measured_end, '-infinity')
"""


@dataclass(frozen=True)
class Redelivered:
    """What it took to find nothing to do."""

    commands: int
    seconds: float
    rows_written: int


async def redeliver(conn: Connection, settings: Settings, workers: Sequence[Process], batch_id: int) -> Redelivered:
    """From the moment the workers look, with all commands in the queue, to the last one handled."""
    await until(lambda: conn.fetchval(_AT_REST))
    chunks = await conn.fetch("SELECT position FROM chunks WHERE batch_id = $1", batch_id)
    commands = [DeliverChunk(batch_id=batch_id, position=chunk["position"]) for chunk in chunks]
    transaction = await next_transaction(conn)
    seen = [len(worker.lines) for worker in workers]
    _signal(workers, signal.SIGSTOP)
    await _publish(settings, commands)
    start = datetime.now(UTC)
    _signal(workers, signal.SIGCONT)
    await until(lambda: len(_ends(workers, seen)) >= len(commands))
    # The stamps of the lines count, and not when they are seen here.
    seconds = (max(_ends(workers, seen)) - start).total_seconds()
    return Redelivered(len(commands), seconds, await rows_written_since(conn, transaction))


def _ends(workers: Sequence[Process], seen: Sequence[int]) -> list[datetime]:
    """When each command was handled, from what the workers have logged since."""
    lines = [line for worker, skip in zip(workers, seen, strict=True) for line in worker.lines[skip:]]
    handled = [json.loads(line) for line in lines if "nothing_to_deliver" in line]
    return [datetime.fromisoformat(line["timestamp"]) for line in handled]


async def _publish(settings: Settings, commands: Sequence[DeliverChunk]) -> None:
    messages = [
        aio_pika.Message(command.model_dump_json().encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        for command in commands
    ]
    async with await aio_pika.connect(str(settings.amqp_url)) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(Topology(settings.amqp_prefix).commands, ensure=False)
        await asyncio.gather(*(exchange.publish(message, commands[0].name) for message in messages))


def _signal(workers: Sequence[Process], number: signal.Signals) -> None:
    for worker in workers:
        os.kill(worker.pid, number)
