"""What is older than CLARION_RETENTION_DAYS is removed in bites, and nothing else is (CONTRACT 2)."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from service.application.messages.batch_moves import move_batch
from service.domain.batch import Move
from service.domain.errors import Code, Refusal
from service.domain.event_metadata import Cause
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import chunks, retention
from sql.connection import Connection
from tests.support.batches import SENDER, Batches
from tests.support.outbox import record_message
from workers import retention as sweeping
from workers.retention import RetentionSweeper

PEOPLE = range(10, 22)


@pytest.fixture
def sweeper(settings: Settings, pool: asyncpg.Pool) -> RetentionSweeper:
    """Keeps a day; its broker is away."""
    kept = settings.model_copy(update={"retention_days": 1})
    return RetentionSweeper(kept, pool, Publisher(kept, "test"))


async def ended(conn: Connection, *, ago: str, state: str = "sent") -> int:
    """A batch in six chunks that was settled and audited so long ago; one recipient was taken out of it."""
    batch = await Batches(conn).accept(PEOPLE, chunk_size=2)
    settled = "failed" if state == "error" else "delivered"
    await conn.execute("UPDATE chunks SET state = $2 WHERE batch_id = $1", batch, settled)
    await conn.execute("INSERT INTO skipped_recipients VALUES ($1, 99, 'user_deleted', now())", batch)
    await conn.execute(
        f"UPDATE batches SET {'failed' if state == 'error' else 'delivered'} = 12, state = $2,"
        " started_at = now() - $3::text::interval, finished_at = now() - $3::text::interval,"
        " audited_end = now() - $3::text::interval WHERE id = $1",
        batch,
        state,
        ago,
    )
    return batch


async def chunks_of(conn: Connection) -> dict[int, int]:
    """How many chunks each batch has that has any."""
    rows = await conn.fetch("SELECT batch_id, count(*) AS chunks FROM chunks GROUP BY 1")
    return {row["batch_id"]: row["chunks"] for row in rows}


async def test_who_the_recipients_were_is_forgotten_and_counters_and_messages_stay(
    conn: asyncpg.Connection, sweeper: RetentionSweeper
) -> None:
    old, cancelled = await ended(conn, ago="25 h"), await ended(conn, ago="25 h", state="cancelled")
    young = await ended(conn, ago="23 h")
    running = await Batches(conn).accept(PEOPLE, chunk_size=2)
    sends = await conn.fetchval("SELECT count(*) FROM sends")

    await sweeper.sweep()

    assert await chunks_of(conn) == {young: 6, running: 6}
    assert await conn.fetchval("SELECT array_agg(batch_id) FROM skipped_recipients") == [young]
    rows = await conn.fetch("SELECT id, delivered, forgotten_at < 'infinity' AS forgotten FROM batches ORDER BY id")
    assert [tuple(row) for row in rows] == [
        (old, 12, True), (cancelled, 12, True), (young, 12, None), (running, 0, None),
    ]  # fmt: skip
    assert await conn.fetchval("SELECT count(*) FROM sends") == sends


async def test_what_is_not_audited_or_has_events_that_wait_is_kept(
    conn: asyncpg.Connection, sweeper: RetentionSweeper
) -> None:
    """The events of its copies name their recipients, which stand in the chunks."""
    batch = await ended(conn, ago="25 h")
    await conn.execute("UPDATE batches SET audited_end = NULL")
    await sweeper.sweep()
    assert await chunks_of(conn) == {batch: 6}

    await conn.execute("UPDATE batches SET audited_end = finished_at")
    await record_message(conn, Cause({}), 2000, 2000)
    await conn.execute("UPDATE outbox SET recorded_at = now() - interval '26 h'")
    await sweeper.sweep()
    assert await chunks_of(conn) == {batch: 6}

    await conn.execute("UPDATE outbox SET recorded_at = now() - interval '24 h 30 min'")
    await sweeper.sweep()
    assert await chunks_of(conn) == {}


async def test_it_goes_in_bites_and_several_share_the_work(
    conn: asyncpg.Connection, settings: Settings, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "BITE", 4)
    kept = settings.model_copy(update={"retention_days": 1})
    several = [RetentionSweeper(kept, pool, Publisher(kept, "test")) for _ in range(2)]
    for _ in range(3):
        await ended(conn, ago="2 days")
    left = [18]

    while left[-1]:
        await several[0].sweep()
        left.append(sum((await chunks_of(conn)).values()))

    assert left == [18, 14, 10, 6, 2, 0]
    assert await conn.fetchval("SELECT bool_and(forgotten_at < 'infinity') FROM batches")
    for _ in range(3):
        await ended(conn, ago="2 days")
    while sum((await chunks_of(conn)).values()):
        await asyncio.gather(*(each.sweep() for each in several))
    await several[0].sweep()
    assert await conn.fetchval("SELECT bool_and(forgotten_at < 'infinity') FROM batches")


async def test_what_is_forgotten_is_neither_tried_again_nor_brought_back(conn: asyncpg.Connection) -> None:
    """Also while that goes on: a chunk may be there still."""
    batch = await ended(conn, ago="25 h", state="error")
    await conn.execute("UPDATE batches SET forgotten_at = 'infinity'")

    with pytest.raises(Refusal) as refused:
        await move_batch(conn, Move.RETRY, batch, SENDER, accounts=None, cause=None)
    found = await chunks.revive_chunks(conn, [(batch, 0)], due_after=timedelta())

    assert refused.value.code is Code.CONFLICT
    assert [row.chunk_state for row in found] == [None]
    assert await conn.fetchval("SELECT state FROM batches") == "error"


async def test_batch_updates_that_ended_are_removed(conn: asyncpg.Connection, sweeper: RetentionSweeper) -> None:
    await conn.execute(
        "INSERT INTO batch_updates (user_id, event, conversation_ids, state, created_at, updated_at, due_at)"
        " SELECT 1, 'star', '{1}', state, now() - ago, now() - ago, now() FROM (VALUES"
        " ('completed', '25 h'::interval), ('failed', '25 h'), ('completed', '23 h'), ('running', '25 h'),"
        " ('queued', '25 h')) v(state, ago)"
    )

    await sweeper.sweep()

    left = await conn.fetch("SELECT state FROM batch_updates ORDER BY 1")
    assert [row["state"] for row in left] == ["completed", "queued", "running"]


async def test_a_day_is_a_day(conn: asyncpg.Connection) -> None:
    await ended(conn, ago="9 days 23 h")

    kept = await retention.begin_forgetting(conn, older_than=timedelta(days=10), limit=10)
    gone = await retention.begin_forgetting(conn, older_than=timedelta(days=9), limit=10)

    assert (kept, gone) == (0, 1)
