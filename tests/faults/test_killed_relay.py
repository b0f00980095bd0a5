"""Relays killed at any moment, many times: every event comes, at least once and always under its own id."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from service.runtime.settings import Settings
from sql.connection import Connection
from tests.support.broker import broker_client
from tests.support.chance import as_often
from tests.support.event_consumer import EventConsumer, event_consumer
from tests.support.processes import Installation, Process, installation
from tests.support.waiting import until

ROUNDS = as_often(4)
CHUNKS = 12  # of each round
COPIES = 150  # of a chunk
BLOCK = 2000


@pytest.fixture
async def relaying(settings: Settings) -> AsyncIterator[Installation]:
    """Nothing started yet."""
    async with installation(settings) as made:
        yield made
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


async def start(relaying: Installation) -> Process:
    """A relay of its own process; returns when it is at work, or nearly."""
    process = await relaying.start("worker", "--only", "relay", CLARION_RELAY_INTERVAL="0.02")
    await process.logged("broker_connected", times=2)
    return process


async def record(conn: Connection, number: int) -> None:
    """New conversations in many lanes, each chunk with a later message in one of its conversations."""
    await conn.execute(
        "WITH block AS (SELECT ($1::bigint * $2 + n + 1) * $4::bigint AS id FROM generate_series(0, $2::bigint - 1) n)"
        " INSERT INTO outbox"
        " (lane, event, author_id, created_at, cause, first_id, copies, conversation_ids, message_ids)"
        " SELECT outbox_lane(id), 'delivered', 42, now(), $5::jsonb, id, $3::integer,"
        " NULL::bigint[], NULL::bigint[] FROM block"
        " UNION ALL"
        " SELECT outbox_lane(id), 'delivered', 42, now(), $5, NULL, NULL, ARRAY[id], ARRAY[id + $4 / 2] FROM block",
        number,
        CHUNKS,
        COPIES,
        BLOCK,
        '{"root_account_id": "10000000000001"}',
    )


def expected(rounds: int) -> set[str]:
    """Message ids of everything recorded in so many rounds."""
    found = set()
    for block in range(BLOCK, (rounds * CHUNKS + 1) * BLOCK, BLOCK):
        for number in range(block, block + COPIES):
            found |= {f"conversation_created.{number}", f"conversation_message_created.{number}"}
        found.add(f"conversation_message_created.{block + BLOCK // 2}")
    return found


async def test_relays_killed_at_random_moments_lose_nothing(
    relaying: Installation, settings: Settings, conn: asyncpg.Connection, chance: random.Random
) -> None:
    async with event_consumer(settings) as listening:
        relays = [await start(relaying), await start(relaying)]
        for number in range(ROUNDS):
            await record(conn, number)
            await listening.until(partial(_has_received_more, than=len(listening.received)))
            await asyncio.sleep(chance.uniform(0, 0.15))
            victim = chance.randrange(len(relays))
            await relays[victim].stop(signal.SIGKILL)
            relays[victim] = await start(relaying)

        await _all_received(conn, listening)
        assert [await relay.stop() for relay in relays] == [0, 0]
        for block, messages in listening.messages.items():
            # What came first of each: a later message never before an earlier one of its conversation.
            assert messages == ([block, block + BLOCK // 2] if block % BLOCK == 0 else [block])


def _has_received_more(listening: EventConsumer, *, than: int) -> bool:
    return len(listening.received) > than


async def _all_received(conn: Connection, listening: EventConsumer) -> None:
    async def empty() -> bool:
        return bool(await conn.fetchval("SELECT count(*) = 0 FROM outbox"))

    await until(empty)
    everything = expected(ROUNDS)
    await listening.until(lambda so_far: len(so_far.times) >= len(everything))
    assert set(listening.times) == everything
