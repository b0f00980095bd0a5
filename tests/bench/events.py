"""The relay against the broker's own limit: ``python -m tests.bench.events`` prints one JSON object.

In turns, in this process: frames that were encoded before, from a bare socket; aio-pika's own publishing; and the
relay, which reads what a bulk send leaves in the outbox, expands and encodes it. All publish persistent events of one
size, mandatory and confirmed, on one channel, into one quorum queue that takes them all. Then the relay alone: into a
quorum queue that takes sets of events, and with no queue bound at all.
"""

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
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
from tests.bench.bare_socket import bare_socket, frames_of
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
async def queue_of_all(channel: AbstractChannel, exchange: str) -> AsyncIterator[AbstractQueue]:
    """A queue bound to all that is published on the exchange, as a consumer has it."""
    queue = await channel.declare_queue(f"{exchange}.all", durable=True, arguments={"x-queue-type": "quorum"})
    await queue.bind(exchange, "#")
    try:
        yield queue
    finally:
        await channel.queue_delete(queue.name)


@asynccontextmanager
async def queue_of_all_events(settings: Settings) -> AsyncIterator[AbstractQueue]:
    """A queue bound to all events, on a connection of its own."""
    async with await aio_pika.connect(str(settings.amqp_url)) as connection:
        await declare(connection, Topology(settings.amqp_prefix))
        async with queue_of_all(await connection.channel(), Topology(settings.amqp_prefix).events) as queue:
            yield queue


def events_to_publish(events: int) -> list[Encoded]:
    """As the relay makes them, of as many new conversations as half of that."""
    row = MessagesRow("delivered", datetime.now(UTC), CAUSE, 1, datetime.now(UTC), FirstMessages(1, events // 2))
    return list(row.events())


async def bare_rate(settings: Settings, exchange: str, events: int) -> Rate:
    """Frames from a bare socket."""
    frames = [frames_of(event, exchange) for event in events_to_publish(events)]
    async with bare_socket(str(settings.amqp_url)) as sock, measured(events) as rate:
        await sock.publish(frames)
    return rate[0]


async def raw_rate(channel: AbstractChannel, exchange_name: str, events: int) -> Rate:
    """Publishes that many events as they come, without outbox."""
    exchange = await channel.get_exchange(exchange_name, ensure=False)
    left = iter(events_to_publish(events))

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
    """The figures: medians of the rounds. ``raw``: events of the baselines; ``messages``: of a bulk send."""
    topology = Topology(settings.amqp_prefix)
    pool = await asyncpg.create_pool(str(settings.database_url), min_size=0, max_size=2)
    relay = Relay(settings, pool)
    await relay.start()
    rates: defaultdict[str, list[Rate]] = defaultdict(list)
    try:
        async with await aio_pika.connect(str(settings.amqp_url)) as connection, pool.acquire() as conn:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await until(lambda: relay.connected)
            for _ in range(rounds):
                async with queue_of_all(channel, topology.events) as queue:
                    rates["bare"].append(await bare_rate(settings, topology.events, raw))
                    rates["raw"].append(await raw_rate(channel, topology.events, raw // 2))
                    await queue.purge()
                    rates["relay"].append(await relay_rate(conn, relay, messages))
                async with queue_of_all(channel, topology.event_sets):
                    rates["sets"].append(await relay_rate(conn, relay, messages))
                rates["unbound"].append(await relay_rate(conn, relay, messages))
    finally:
        await relay.drain()
        await pool.close()
    found = {
        name: Rate(*(median(values) for values in zip(*map(astuple, each), strict=True)))
        for name, each in rates.items()
    }
    bare, raw_, relayed = found["bare"].per_second, found["raw"].per_second, found["relay"].per_second
    return {
        "events": messages * 2,
        **{f"{name}_events_per_second": round(rate.per_second) for name, rate in found.items()},
        **{f"{name}_cpu_microseconds": round(rate.cpu_microseconds, 1) for name, rate in found.items()},
        "relay_to_bare": round(relayed / bare, 2),
        "relay_to_raw": round(relayed / raw_, 2),
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
