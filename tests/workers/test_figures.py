"""What waits, and how punctual what has ended was, as figures."""

import asyncio
from typing import Any

import asyncpg
import pytest

from service.domain.event_metadata import Cause
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.backlog import KINDS, count_backlog
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.figures import growth, value
from tests.support.outbox import record_message
from workers.figures import Figures


@pytest.fixture
def figures(settings: Settings, pool: asyncpg.Pool) -> Figures:
    """Whose broker is away."""
    return Figures(settings, pool, Publisher(settings, "test"))


async def ended(conn: Connection, *late: int, moves: int = 0, state: str = "sent", **ages: Any) -> int:
    """A batch to ten people in five chunks; the chunks of ``late`` took 11 seconds, the others one."""
    batch = await Batches(conn).accept(range(10, 20), chunk_size=2)
    await conn.execute("UPDATE batches SET created_at = created_at - $1::text::interval", ages.get("ago", "0"))
    await conn.execute(
        "UPDATE chunks c SET state = CASE WHEN $2 = 'error' AND position = 4 THEN 'failed' ELSE 'delivered' END,"
        " updated_at = b.created_at + CASE WHEN position = ANY ($3) THEN interval '11 s' ELSE interval '1 s' END"
        " FROM batches b WHERE b.id = c.batch_id AND b.id = $1",
        batch,
        state,
        late,
    )
    await conn.execute(
        "UPDATE batches b SET state = $2, moves = $3, started_at = created_at + interval '1 s', finished_at ="
        " (SELECT max(updated_at) FROM chunks WHERE batch_id = b.id) WHERE id = $1",
        batch,
        state,
        moves,
    )
    return batch


async def days(conn: Connection) -> list[tuple[Any, ...]]:
    return [tuple(r) for r in await conn.fetch("SELECT batches, recipients, in_time FROM punctuality ORDER BY day")]


async def test_recipients_in_time_are_counted_by_day(conn: asyncpg.Connection, figures: Figures) -> None:
    """Who failed did not have it in time; what its sender paused took as long as the sender wanted."""
    await ended(conn, 0, 3)
    await ended(conn, state="error")
    await ended(conn, 0, 1, 2, 3, 4, moves=2)
    first, total = (
        growth("worker", "clarion_last_inbox_seconds_count"),
        growth("worker", "clarion_last_inbox_seconds_sum"),
    )
    errors = growth("worker", "clarion_batch_seconds_count", state="error")

    await figures.sweep()

    assert await days(conn) == [(2, 20, 6 + 8)]
    assert value("worker", "clarion_day_recipients", day="today") == 20
    assert value("worker", "clarion_day_in_time_ratio", day="today") == 0.7
    assert value("worker", "clarion_day_in_time_ratio", day="yesterday") == 1
    assert (first(), total(), errors()) == (2, 12, 1)


async def test_yesterday_is_kept_beside_today(conn: asyncpg.Connection, figures: Figures) -> None:
    await ended(conn, 0, ago="1 day")
    await ended(conn)

    await figures.sweep()

    assert await days(conn) == [(1, 10, 8), (1, 10, 10)]
    assert value("worker", "clarion_day_in_time_ratio", day="yesterday") == 0.8


async def test_each_end_is_measured_once_however_many_look(
    conn: asyncpg.Connection, settings: Settings, pool: asyncpg.Pool
) -> None:
    for _ in range(20):
        await ended(conn)
    count = growth("worker", "clarion_batch_seconds_count", state="sent")
    several = [Figures(settings, pool, Publisher(settings, "test")) for _ in range(3)]

    await asyncio.gather(*(each.sweep() for each in several))
    await several[0].sweep()

    assert count() == 20
    assert await days(conn) == [(20, 200, 200)]


async def test_what_went_on_is_measured_again_and_counted_once(conn: asyncpg.Connection, figures: Figures) -> None:
    batch = await ended(conn, state="error")
    await figures.sweep()
    count = growth("worker", "clarion_batch_seconds_count", state="sent")

    await conn.execute(
        "UPDATE batches SET state = 'sent', moves = 1, finished_at = finished_at + interval '1 h' WHERE id = $1", batch
    )
    await figures.sweep()

    assert count() == 1
    assert await days(conn) == [(1, 10, 8)]


async def test_each_kind_of_backlog_has_a_size_and_an_age(conn: asyncpg.Connection, figures: Figures) -> None:
    assert [tuple(found) for found in await count_backlog(conn)] == [(kind, 0, 0) for kind in KINDS]
    running = await Batches(conn).accept(range(10, 20), chunk_size=2)
    await conn.execute("UPDATE batches SET delivered = 4, created_at = now() - interval '7 min'")
    for state in ("paused", "sent"):
        batch = await Batches(conn).accept(range(10, 20), chunk_size=2)
        await Batches(conn).set_state(batch, state)
    await conn.execute(
        "UPDATE batches SET finished_at = now() - interval '3 min' WHERE state = 'sent';"
        "INSERT INTO scheduled_sends (batch_id, request, due_at)"
        " VALUES (7, '{}', now() - interval '2 min'), (8, '{}', now() + interval '1 min');"
        "INSERT INTO batch_updates (user_id, event, conversation_ids, state, created_at, updated_at, due_at)"
        " SELECT 1, 'star', '{1}', state, now() - interval '6 min', now(), now()"
        " FROM unnest('{queued,running,completed}'::text[]) state;"
        "UPDATE sends SET created_at = now() - interval '5 min'"
    )
    await conn.execute(
        "INSERT INTO pending_replies (conversation_id, message_id, send_id, included_message_ids, tags, user_note,"
        " due_at, failed_at) SELECT 1, n, b.send_id, '{}', '{}', false, now(), CASE WHEN n = 2 THEN now() END"
        " FROM batches b, generate_series(1, 2) n WHERE b.id = $1",
        running,
    )
    for conversation in (2000, 4000, 2001):
        await record_message(conn, Cause({}), conversation, conversation)
    await conn.execute("UPDATE outbox SET recorded_at = now() - interval '4 min'")

    await figures.sweep()

    sizes = {kind: value("worker", "clarion_backlog", kind=kind) for kind in KINDS}
    ages = {kind: int(value("worker", "clarion_backlog_age_seconds", kind=kind) // 60) for kind in KINDS}
    assert sizes == {"recipients": 6, "scheduled": 1, "replies": 1, "updates": 2, "events": 3, "audits": 1}
    assert ages == {"recipients": 7, "scheduled": 2, "replies": 5, "updates": 6, "events": 4, "audits": 3}
