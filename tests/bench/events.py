"""The relay against raw publishing: ``python -m tests.bench.events`` prints one JSON object.

Both publish persistent events of one size on the exchange of events, mandatory and confirmed, on one channel, into one
quorum queue that takes them all, in this process and in turns. Raw publishing is aio-pika's own, with hundreds of
messages on their way; the relay reads what a bulk send leaves in the outbox, expands and encodes it.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from time import perf_counter, process_time
from typing import Any

import aio_pika
import asyncpg
import uvloop
from aio_pika.abc import AbstractChannel, AbstractQueue

from service.contracts.topology import Topology
from service.domain.event_metadata import Cause
from service.domain.outbox import Encoded, FirstMessages, MessagesRow
from service.runtime import logs
from service.runtime.settings import Settings
from service.runtime.topology import declare
from sql.connection import Connection
from tests.bench.environment import fresh_settings, on_servers
from tests.support.waiting import until
from workers.relay import Relay

ON_THEIR_WAY = 200  # messages of raw publishing; aio-pika was fastest with about so many
CHUNK = 2000
CAUSE = Cause({"root_account_id": "10000000000001", "job_id": "deliver.7.12", "job_tag": "deliver"})


@dataclass(frozen=True)
class Rate:
    """Events a second by the clock, and microseconds of this process's CPU time for each."""

    per_second: float
    cpu_microseconds: float


@asynccontextmanager
async def measured(events: int) -> AsyncIterator[list[Rate]]:
    """Puts the rate of the block into the list."""
    found: list[Rate] = []
    start, cpu = perf_counter(), process_time()
    yield found
    found.append(Rate(events / (perf_counter() - start), (process_time() - cpu) / events * 1e6))


@asynccontextmanager
async def queue_of_all_events(settings: Settings) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    """A connection's channel, and a queue bound to all events as a consumer has it."""
    topology = Topology(settings.amqp_prefix)
    async with await aio_pika.connect(str(settings.amqp_url)) as connection:
        await declare(connection, topology)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        name = f"{settings.amqp_prefix}.consumer"
        queue = await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(topology.events, "#")
        try:
            yield channel, queue
        finally:
            await channel.queue_delete(name)


async def raw_rate(channel: AbstractChannel, exchange_name: str, events: int) -> Rate:
    """Publishes that many events as they come, without outbox."""
    exchange = await channel.get_exchange(exchange_name, ensure=False)
    row = MessagesRow("delivered", datetime.now(UTC), CAUSE, 1, datetime.now(UTC), FirstMessages(1, events // 2))
    left = iter(list(row.events()))

    async def publish() -> None:
        for event in left:
            await exchange.publish(_message(event), event.name, mandatory=True)

    async with measured(events) as rate:
        await asyncio.gather(*(publish() for _ in range(ON_THEIR_WAY)))
    return rate[0]


def _message(event: Encoded) -> aio_pika.Message:
    return aio_pika.Message(
        event.body,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=event.message_id,
        type=event.name,
    )


async def relay_rate(conn: Connection, relay: Relay, messages: int) -> Rate:
    """Relays what a bulk send of that many new conversations leaves in the outbox: two events for each."""
    await conn.execute("TRUNCATE chunks")
    await conn.execute(
        "INSERT INTO chunks (batch_id, position, first_id, recipients, state, due_at, updated_at)"
        " SELECT 7, n, n * $2, array(SELECT generate_series(n * $2, least((n + 1) * $2, $1::bigint + $2) - 1)),"
        " 'delivered', now(), now() FROM generate_series(1, ($1::bigint + $2::bigint - 1) / $2::bigint) AS n(n)",
        messages,
        CHUNK,
    )
    await conn.execute(
        "INSERT INTO outbox (lane, event, author_id, created_at, first_id, copies, cause, batch_id, position)"
        " SELECT outbox_lane(first_id), 'delivered', 1, now(), first_id, cardinality(recipients), $1::jsonb, batch_id,"
        " position FROM chunks",
        json.dumps(dict(CAUSE.metadata)),
    )
    relayed = 0
    async with measured(messages * 2) as rate:
        while published := await relay.relay():
            relayed += published
    assert relayed == messages * 2, relayed
    return rate[0]


async def compare(settings: Settings, *, messages: int, raw: int, rounds: int) -> dict[str, Any]:
    """The figures: medians of the rounds, raw publishing of ``raw`` events and the relay of ``messages`` in turns."""
    exchange = Topology(settings.amqp_prefix).events
    pool = await asyncpg.create_pool(str(settings.database_url), min_size=0, max_size=2)
    relay = Relay(settings, pool)
    await relay.start()
    try:
        async with queue_of_all_events(settings) as (channel, queue), pool.acquire() as conn:
            await until(lambda: relay.connected)
            raws, relays = [], []
            for _ in range(rounds):
                raws.append(await raw_rate(channel, exchange, raw))
                relays.append(await relay_rate(conn, relay, messages))
                await queue.purge()
    finally:
        await relay.drain()
        await pool.close()
    raw_per_second = median(rate.per_second for rate in raws)
    relay_per_second = median(rate.per_second for rate in relays)
    return {
        "events": messages * 2,
        "raw_events_per_second": round(raw_per_second),
        "relay_events_per_second": round(relay_per_second),
        "relay_to_raw": round(relay_per_second / raw_per_second, 2),
        "raw_cpu_microseconds": round(median(rate.cpu_microseconds for rate in raws), 1),
        "relay_cpu_microseconds": round(median(rate.cpu_microseconds for rate in relays), 1),
    }


async def _main(messages: int, raw: int, rounds: int) -> dict[str, Any]:
    async with fresh_settings() as settings:
        logs.configure(settings.model_copy(update={"log_level": "warning"}))
        return await compare(settings, messages=messages, raw=raw, rounds=rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.events", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="of the bulk send; twice as many events")
    parser.add_argument("--raw", type=int, default=40_000, help="events published without the relay")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    figures = uvloop.run(on_servers(_main(asked.messages, asked.raw, asked.rounds)))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
