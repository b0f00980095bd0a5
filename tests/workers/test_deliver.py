"""Deliverer: how often a chunk that cannot be written is tried, and what becomes of it."""

from datetime import UTC, datetime, timedelta

import asyncpg
import orjson
import pytest

from service.contracts.commands import DeliverChunk
from service.runtime.settings import Settings
from tests.support.batches import Batches
from workers.attempts import MAX_ATTEMPTS, MAX_REDELIVERIES, TOO_MANY_REDELIVERIES
from workers.deliver import Deliverer
from workers.outcome import DeadLetter, Done


@pytest.fixture
async def unwritable(conn: asyncpg.Connection, batches: Batches) -> DeliverChunk:
    """Of two chunks, the first has a recipient whose threads the database refuses (a thread of that id is there)."""
    batch = await batches.accept([10, 11, 12, 13], chunk_size=2)
    await conn.execute(
        "INSERT INTO conversations SELECT first_id, 1, 0, 0, false, false FROM chunks WHERE position = 0"
    )
    return DeliverChunk(batch_id=batch, position=0)


async def state(conn: asyncpg.Connection, command: DeliverChunk) -> asyncpg.Record:
    """The chunk's row."""
    row = await conn.fetchrow(
        "SELECT * FROM chunks WHERE batch_id = $1 AND position = $2", command.batch_id, command.position
    )
    assert row is not None
    return row


async def time_passes(conn: asyncpg.Connection, by: timedelta) -> None:
    """The last failure is longer ago."""
    await conn.execute("UPDATE chunks SET tried_at = tried_at - $1::interval", by)


async def test_a_failing_chunk_waits_twice_as_long_each_time_and_is_given_up_in_the_end(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, unwritable: DeliverChunk
) -> None:
    deliverer = Deliverer(settings, pool)
    for attempt in range(1, MAX_ATTEMPTS):
        wait = timedelta(seconds=settings.retry_after) * 2 ** (attempt - 1)
        assert await deliverer.handle(unwritable) == Done()
        row = await state(conn, unwritable)
        assert (row["state"], row["attempts"]) == ("pending", attempt)
        assert row["due_at"] - row["tried_at"] == wait
        await time_passes(conn, wait)

    outcome = await deliverer.handle(unwritable)

    row = await state(conn, unwritable)
    assert (row["state"], row["attempts"]) == ("failed", MAX_ATTEMPTS)
    assert outcome == DeadLetter(row["error"])
    assert await deliverer.handle(unwritable) == Done()
    assert await deliverer.handle(DeliverChunk(batch_id=unwritable.batch_id, position=1)) == Done()
    batch = await conn.fetchrow("SELECT * FROM batches")
    assert batch is not None
    assert (batch["state"], batch["failed"], batch["delivered"], batch["total"]) == ("error", 2, 2, 4)


async def test_commands_that_came_twice_do_not_use_up_the_attempts(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, unwritable: DeliverChunk
) -> None:
    deliverer = Deliverer(settings, pool)

    for _ in range(3 * MAX_ATTEMPTS):
        assert await deliverer.handle(unwritable) == Done()

    row = await state(conn, unwritable)
    assert (row["state"], row["attempts"]) == ("pending", 1)
    assert row["due_at"] > datetime.now(UTC)


async def test_an_unknown_chunk_goes_to_the_dead_letters(settings: Settings, pool: asyncpg.Pool) -> None:
    assert await Deliverer(settings, pool).handle(DeliverChunk(batch_id=4711, position=0)) == DeadLetter(
        "no such chunk"
    )


@pytest.mark.parametrize("stopped", ["paused", "cancelled"])
async def test_a_stopped_batch_is_left_alone(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches, stopped: str
) -> None:
    batch = await batches.accept([10, 11], chunk_size=2)
    await batches.set_state(batch, stopped)

    assert await Deliverer(settings, pool).handle(DeliverChunk(batch_id=batch, position=0)) == Done()

    assert await conn.fetchval("SELECT state FROM chunks") == "pending"
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 0


async def test_a_chunk_that_kills_its_workers_is_given_up_and_the_others_arrive(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    batch = await batches.accept([10, 11, 12, 13], chunk_size=2)
    deadly, harmless = (DeliverChunk(batch_id=batch, position=position) for position in range(2))
    deliverer = Deliverer(settings, pool)

    assert [await deliverer.redelivered(deadly) for _ in range(MAX_REDELIVERIES)] == [None] * MAX_REDELIVERIES
    assert await deliverer.redelivered(deadly) == DeadLetter(TOO_MANY_REDELIVERIES)
    assert await deliverer.redelivered(deadly) == DeadLetter(TOO_MANY_REDELIVERIES)
    assert await deliverer.handle(deadly) == Done()

    assert await deliverer.redelivered(harmless) is None
    assert await deliverer.handle(harmless) == Done()
    assert await deliverer.redelivered(harmless) is None
    assert await deliverer.redelivered(DeliverChunk(batch_id=batch, position=2)) is None
    row = await conn.fetchrow("SELECT state, failed, delivered FROM batches")
    assert row is not None
    assert tuple(row) == ("error", 2, 2)
    assert (await state(conn, deadly))["error"] == TOO_MANY_REDELIVERIES


async def test_what_a_command_changes_is_caused_by_it(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    """Also where it ends a chunk in another way than by delivering it (canvas/events.md 1.1)."""
    batch = await batches.accept([10, 11, 12, 13], chunk_size=2)
    delivered, given_up = (DeliverChunk(batch_id=batch, position=position) for position in range(2))
    deliverer = Deliverer(settings, pool)

    await deliverer.handle(delivered)
    for _ in range(MAX_REDELIVERIES + 1):
        await deliverer.redelivered(given_up)

    recorded = await conn.fetch("SELECT event, cause FROM outbox ORDER BY id")
    root = {"root_account_id": "10000000000001", "job_tag": "deliver"}
    assert [(row["event"], orjson.loads(row["cause"])) for row in recorded] == [
        *(
            (event, {**root, "job_id": f"deliver.{batch}.0"})
            for event in ("delivered", "batch_started", "batch_progress")
        ),
        ("batch_failed", {**root, "job_id": f"deliver.{batch}.1"}),
    ]


async def test_with_events_switched_off_nothing_is_recorded(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    batch = await batches.accept([10, 11], chunk_size=2)
    quiet = settings.model_copy(update={"events": False})

    assert await Deliverer(quiet, pool).handle(DeliverChunk(batch_id=batch, position=0)) == Done()

    assert await conn.fetchval("SELECT state FROM batches") == "sent"
    assert await conn.fetchval("SELECT count(*) FROM outbox") == 0
