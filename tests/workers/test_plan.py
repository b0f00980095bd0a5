"""Planner: what is committed and not done is commanded, by the planner or a sweeper."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from service.contracts.commands import DeliverChunk, PlanBatch, parse_command
from service.runtime.broker import BrokerUnavailable
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import chunks
from tests.support.batches import Batches
from tests.support.broker import BrokerClient
from workers.outcome import Done
from workers.plan import Planner
from workers.turns import DueChunks

LATER = timedelta(hours=1)


async def commanded(outside: BrokerClient) -> list[tuple[int, int]]:
    """(batch id, position) of the deliver commands published so far, taken off their queue."""
    queue = await outside.channel.get_queue(outside.topology.command_queue("deliver"), ensure=False)
    found = []
    while (message := await queue.get(fail=False)) is not None:
        command = parse_command(message.body)
        assert isinstance(command, DeliverChunk)
        found.append((command.batch_id, command.position))
        await message.ack()
    return sorted(found)


async def test_planning_commands_as_many_chunks_as_may_be_in_flight(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    settings = settings.model_copy(update={"batch_chunks_in_flight": 3})
    other = await batches.accept(range(10, 20), chunk_size=5, patience=None)
    batch = await batches.accept(range(10, 25), chunk_size=2, patience=None)
    planner = Planner(settings, pool, publisher)

    for _ in range(2):
        assert await planner.handle(PlanBatch(batch_id=batch)) == Done()

    assert await commanded(outside) == [(batch, position) for position in range(3)]
    assert await DueChunks(settings, pool, publisher).sweep() == 0
    assert other != batch


async def test_planners_of_one_batch_command_no_more_together(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    batch = await batches.accept(range(10, 100), chunk_size=2, patience=None)
    planners = [Planner(settings, pool, publisher) for _ in range(6)]

    await asyncio.gather(*(planner.handle(PlanBatch(batch_id=batch)) for planner in planners))

    assert await commanded(outside) == [(batch, position) for position in range(settings.batch_chunks_in_flight)]


async def test_the_sweeper_goes_on_with_batches_that_nobody_goes_on_with(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    """Their command was lost, or a worker was killed before it commanded what is next. Not what is stopped."""
    settings = settings.model_copy(update={"batch_chunks_in_flight": 2})
    lost, begun, full = [await batches.accept(range(10, 20), chunk_size=2, patience=None) for _ in range(3)]
    stopped = await batches.accept(range(10, 20), chunk_size=2, patience=None)
    await batches.set_state(stopped, "paused")
    planner = Planner(settings, pool, publisher)
    await planner.handle(PlanBatch(batch_id=begun))
    await planner.handle(PlanBatch(batch_id=full))
    async with pool.acquire() as conn:
        await conn.execute("UPDATE chunks SET state = 'delivered' WHERE batch_id = $1 AND position = 0", begun)
    await commanded(outside)

    assert await planner.sweep() == 3

    assert await commanded(outside) == [(lost, 0), (lost, 1), (begun, 2)]
    assert await planner.sweep() == 0


async def test_what_waits_to_be_tried_again_is_no_reason_to_wait(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    settings = settings.model_copy(update={"batch_chunks_in_flight": 2})
    batch = await batches.accept(range(10, 20), chunk_size=2, patience=None)
    planner = Planner(settings, pool, publisher)
    await planner.handle(PlanBatch(batch_id=batch))
    async with pool.acquire() as conn:
        await chunks.postpone_chunk(conn, batch, 0, error="no", first_wait=LATER)

    await planner.sweep()

    assert await commanded(outside) == [(batch, 0), (batch, 1), (batch, 2)]


async def test_a_planner_that_could_not_publish_leaves_its_chunks_to_the_next_sweep(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    batch = await batches.accept(range(10, 14), chunk_size=2, patience=None)
    with pytest.raises(BrokerUnavailable):
        await Planner(settings, pool, Publisher(settings, "not started")).handle(PlanBatch(batch_id=batch))

    assert await DueChunks(settings, pool, publisher).sweep() == 2
    assert await commanded(outside) == [(batch, 0), (batch, 1)]


async def test_there_is_nothing_to_plan_in_a_batch_that_is_stopped_or_unknown(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    planner = Planner(settings, pool, publisher)
    for state in ("scheduled", "paused", "cancelled", "sent", "error"):
        batch = await batches.accept(range(10, 14), chunk_size=2)
        await batches.set_state(batch, state)
        assert await planner.handle(PlanBatch(batch_id=batch)) == Done()
    assert await planner.handle(PlanBatch(batch_id=4711)) == Done()

    assert await planner.sweep() == 0
    assert await commanded(outside) == []


async def test_the_sweeper_takes_what_is_due_and_pending_and_leaves_it_then(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    due = await batches.accept(range(10, 16), chunk_size=2)
    await batches.accept(range(10, 16), chunk_size=2, patience=LATER)
    await batches.accept(range(10, 16), chunk_size=2, patience=None)
    async with pool.acquire() as conn:
        await conn.execute("UPDATE chunks SET state = 'delivered' WHERE batch_id = $1 AND position = 1", due)
    sweeper = DueChunks(settings, pool, publisher)

    assert await sweeper.sweep() == 2

    assert await commanded(outside) == [(due, 0), (due, 2)]
    assert await sweeper.sweep() == 0
    async with pool.acquire() as conn:
        left_for = await conn.fetchval(
            "SELECT min(due_at) - now() FROM chunks WHERE batch_id = $1 AND position <> 1", due
        )
    assert timedelta(seconds=settings.retry_after / 2) < left_for <= timedelta(seconds=settings.retry_after)


async def test_several_sweepers_share_the_work(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    batch = await batches.accept(range(1000, 1300), chunk_size=1)
    sweepers = [DueChunks(settings, pool, publisher) for _ in range(6)]

    swept = await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))

    assert sum(swept) == 300
    assert await commanded(outside) == [(batch, position) for position in range(300)]


async def test_a_chunk_in_work_is_not_swept(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    batch = await batches.accept(range(10, 14), chunk_size=2)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT 1 FROM chunks WHERE batch_id = $1 AND position = 0 FOR UPDATE", batch)

        assert await DueChunks(settings, pool, publisher).sweep() == 1

    assert await commanded(outside) == [(batch, 1)]


async def test_the_sweeper_settles_what_cancels_have_left_in_work(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    """Not what is still in work, and of no batch that goes on."""
    first, second, _ = [await batches.accept(range(10, 16), chunk_size=2, patience=LATER) for _ in range(3)]
    for batch in (first, second):
        await batches.set_state(batch, "cancelled")
    planner = Planner(settings, pool, publisher)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT 1 FROM chunks WHERE batch_id = $1 AND position = 0 FOR UPDATE", first)
        assert await planner.sweep() == 0

    async with pool.acquire() as conn:
        rows = await conn.fetch("SELECT skipped, finished_at IS NOT NULL FROM batches ORDER BY id")
        assert [tuple(row) for row in rows] == [(4, False), (6, True), (0, False)]
        await planner.sweep()
        assert await conn.fetchval("SELECT count(*) FROM batches WHERE finished_at IS NOT NULL") == 2
        recorded = await conn.fetch("SELECT event FROM outbox ORDER BY id")
    assert sorted(row["event"] for row in recorded) == ["batch_finished", "batch_finished", "batch_progress"]
    assert await commanded(outside) == []


async def test_chunks_that_a_sweep_could_not_command_fall_due_at_once(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, batches: Batches
) -> None:
    batch = await batches.accept(range(10, 14), chunk_size=2)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            await DueChunks(settings, pool, Publisher(settings, "not started")).sweep()

    assert await DueChunks(settings, pool, publisher).sweep() == 2
    assert await DueChunks(settings, pool, publisher).sweep() == 0
    assert await commanded(outside) == [(batch, 0), (batch, 1)]
