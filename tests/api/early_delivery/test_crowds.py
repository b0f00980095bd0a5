"""Many readers, gateways and workers at the same chunks."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from prometheus_client import generate_latest

from service.api import early_delivery as waits
from service.api.app import build_app
from service.application.messages import early_delivery as locks
from service.contracts.commands import DeliverChunk
from service.runtime import metrics
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.early_delivery import SendToAll, Token, held, states
from tests.support.http_calls import call
from tests.support.school import School
from workers.deliver import Deliverer
from workers.outcome import Done


async def test_readers_of_one_chunk_ask_the_database_once(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They take no connection of the pool each while they wait."""
    await send()
    tokens = [await token(student) for student in school.students[:8]]
    arrived, asked = asyncio.Semaphore(0), []
    deliver, cut_out = waits.EarlyDeliveries.deliver, locks.cut_out

    async def noted(*args: Any, **options: Any) -> None:
        arrived.release()
        await deliver(*args, **options)

    async def counted(*args: Any) -> locks.Slice | None:
        asked.append(args)
        return await cut_out(*args)

    monkeypatch.setattr(waits.EarlyDeliveries, "deliver", noted)
    monkeypatch.setattr(waits, "cut_out", counted)
    async with held(database_url, "SELECT FROM chunks FOR UPDATE"):
        readers = [asyncio.create_task(call(client, each, "GET", "/conversations/unread_count")) for each in tokens]
        for _ in readers:
            await arrived.acquire()
    assert await asyncio.gather(*readers) == [{"unread_count": "1"}] * 8
    assert len(asked) == 1


@pytest.mark.parametrize("slice_size", [100, 30])
async def test_a_thousand_readers_of_one_chunk_deliver_it_once(
    *,
    slice_size: int,
    monkeypatch: pytest.MonkeyPatch,
    edge_settings: Settings,
    broker: Publisher,
    database_url: str,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
    send: SendToAll,
    school: School,
    token: Token,
    conn: asyncpg.Connection,
) -> None:
    """At two gateways, all at once; each of them sees the message. Or each part of it once, where it is cut."""
    monkeypatch.setattr(locks, "SLICE", slice_size)
    monkeypatch.setattr(locks, "WHOLE", slice_size)
    parts = -(-100 // slice_size)
    batch_id = await send()
    pools = [await asyncpg.create_pool(database_url, min_size=0, max_size=8) for _ in range(2)]
    clients = [await serve(build_app(edge_settings, pool, broker)) for pool in pools]
    before = delivered()
    tokens = [await token(student) for student in school.students[:100]]

    async def read(number: int) -> Any:
        path = ("/conversations/unread_count", "/conversations?per_page=1")[number % 2]
        client, headers = clients[number // 2 % 2], tokens[number // 10]
        # A gateway lets so many wait for its database at once.
        async with places[number // 2 % 2]:
            return await call(client, headers, "GET", path)

    places = [asyncio.Semaphore(100) for _ in clients]
    answers = await asyncio.gather(*map(read, random.Random(5).sample(range(1000), 1000)))

    assert all(a == {"unread_count": "1"} if isinstance(a, dict) else len(a) == 1 for a in answers)
    assert await states(conn) == ["delivered", "pending", "pending", *["delivered"] * (parts - 1)]
    assert delivered() - before == parts
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 100
    assert await conn.fetchval("SELECT count(*) FROM outbox WHERE batch_id = $1", batch_id) == parts
    for pool in pools:
        await pool.close()


def delivered() -> float:
    """Chunks that this process counts as delivered for a reader."""
    return sum(
        float(line.split()[1])
        for line in generate_latest(metrics.API).decode().splitlines()
        if line.startswith("clarion_chunks_delivered_early_total")
    )


@pytest.mark.parametrize("seed", range(3))
async def test_readers_and_workers_deliver_two_sends_to_the_same_threads_between_them(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
    settings: Settings,
    pool: asyncpg.Pool,
    seed: int,
) -> None:
    """Whoever comes first: a read has both messages, a person has each of them once, and a thread the first subject."""
    own = {"group_conversation": False, "context_code": f"course_{school.course}"}
    batches = [await send("First", **own), await send("Second", **own)]
    chance = random.Random(seed)
    commands = [DeliverChunk(batch_id=batch_id, position=n) for batch_id in batches for n in range(3)]
    readers = chance.sample(school.students, 40)
    tokens = [await token(student) for student in readers]
    workers = [Deliverer(settings, pool) for _ in range(2)]
    chance.shuffle(commands)

    async def read(headers: dict[str, str]) -> Any:
        return await call(client, headers, "GET", "/conversations")

    work = [worker.handle(command) for command, worker in zip(commands, itertools.cycle(workers), strict=False)]
    listed, outcomes = await asyncio.gather(asyncio.gather(*map(read, tokens)), asyncio.gather(*work))

    assert outcomes == [Done()] * 6
    for threads in listed:
        assert [(each["subject"], each["message_count"], each["last_message"]) for each in threads] == [
            ("First", 2, "Second")
        ]
    for batch_id in batches:
        await assert_delivered_once(conn, batch_id, school.students)
