"""What counts as stuck, and what only waits."""

from datetime import timedelta

import asyncpg
import pytest

from service.application.messages.batch_moves import move_batch
from service.domain.batch import Move
from service.domain.event_metadata import Cause
from service.runtime.settings import Settings
from sql.stuck import Stuck, StuckBatch, count_stuck, stuck_batches
from tests.support.batches import SENDER, Batches
from tests.support.outbox import record_message
from tests.support.schedules import Schedules
from tests.support.school import School

RETRY_AFTER = timedelta(seconds=30)
AGO = "UPDATE batches SET created_at = now() - interval '{0}'; UPDATE chunks SET updated_at = now() - interval '{0}'"


async def stuck(conn: asyncpg.Connection) -> list[StuckBatch]:
    """With the default setting: five minutes for what runs, one for what is to start."""
    return await stuck_batches(conn, retry_after=RETRY_AFTER)


async def accepted(conn: asyncpg.Connection, state: str = "sending", *, ago: str = "6 min") -> int:
    """Ten people in five chunks, which are due."""
    batch = await Batches(conn).accept(range(10, 20), chunk_size=2)
    await conn.execute(AGO.format(ago))
    await conn.execute("UPDATE batches SET state = $1", state)
    return batch


@pytest.mark.parametrize("state", ["created", "sending"])
async def test_a_batch_that_stands_still_is_stuck(conn: asyncpg.Connection, state: str) -> None:
    batch = await accepted(conn, state)

    (found,) = await stuck(conn)

    assert found[:5] == (batch, SENDER, state, 10, 0)
    assert 360 <= found.stuck_for < 420
    assert found.why == "no worker has taken a chunk"


async def test_a_batch_of_which_all_chunks_wait_for_their_turn_is_stuck(conn: asyncpg.Connection) -> None:
    """Not one of which a chunk has its turn later, by the pace of its sender."""
    await accepted(conn)
    await conn.execute("UPDATE chunks SET due_at = 'infinity'")
    assert len(await stuck(conn)) == 1

    await conn.execute("UPDATE chunks SET due_at = now() + interval '4 min' WHERE position = 0")
    assert await stuck(conn) == []


@pytest.mark.parametrize("state", ["paused", "sent", "error", "scheduled"])
async def test_a_batch_that_is_not_to_run_is_not_stuck(conn: asyncpg.Connection, state: str) -> None:
    await accepted(conn, state)

    assert await stuck(conn) == []


async def test_a_batch_that_moves_is_not_stuck(conn: asyncpg.Connection) -> None:
    """A chunk was settled, or tried, or the sender has moved it; or it has just been accepted."""
    await accepted(conn)
    for change, undone in (
        ("UPDATE chunks SET state = 'delivered', updated_at = now() WHERE position = 1", AGO.format("6 min")),
        ("UPDATE chunks SET updated_at = now() WHERE position = 2", AGO.format("6 min")),
        ("UPDATE batches SET moved_at = now()", "UPDATE batches SET moved_at = NULL"),
        ("UPDATE batches SET created_at = now()", "UPDATE batches SET created_at = now() - interval '6 min'"),
        ("UPDATE batches SET send_at = now()", "UPDATE batches SET send_at = NULL"),
    ):
        await conn.execute(change)
        assert await stuck(conn) == [], change
        await conn.execute(undone)
        assert len(await stuck(conn)) == 1, undone


async def test_a_chunk_that_is_put_off_waits_on_purpose(conn: asyncpg.Connection) -> None:
    """As long as no other is due. What a sweeper has commanded again is due soon."""
    await accepted(conn)
    await conn.execute("UPDATE chunks SET due_at = now() + interval '4 min', error = 'refused', attempts = 4")
    assert await stuck(conn) == []

    await conn.execute("UPDATE chunks SET due_at = now() + interval '30 s' WHERE position = 3")

    (found,) = await stuck(conn)
    assert found.why == "refused"


async def test_a_batch_without_anything_pending_that_has_not_ended_is_stuck(conn: asyncpg.Connection) -> None:
    await accepted(conn)
    await conn.execute("UPDATE chunks SET state = 'delivered'")

    (found,) = await stuck(conn)

    assert found.why == "nothing is pending, and it has not ended"


async def test_a_resumed_batch_has_its_time_from_then_on(conn: asyncpg.Connection) -> None:
    batch = await accepted(conn, "paused", ago="2 h")
    await move_batch(conn, Move.RESUME, batch, SENDER, accounts=None, cause=None)

    assert await stuck(conn) == []

    await conn.execute("UPDATE batches SET moved_at = now() - interval '6 min'")
    assert len(await stuck(conn)) == 1


async def test_a_cancelled_batch_whose_chunks_do_not_end_is_stuck(conn: asyncpg.Connection, pool: asyncpg.Pool) -> None:
    batch = await accepted(conn)
    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM chunks WHERE position = 1 FOR UPDATE")
        await move_batch(conn, Move.CANCEL, batch, SENDER, accounts=None, cause=None)
    assert await stuck(conn) == []

    await conn.execute("UPDATE batches SET moved_at = now() - interval '6 min'")
    await conn.execute(AGO.format("6 min"))

    (found,) = await stuck(conn)
    assert found[:5] == (batch, SENDER, "cancelled", 10, 8)
    assert found.why == "chunks that were in work have not ended"


async def test_a_scheduled_batch_is_stuck_when_it_is_late(
    conn: asyncpg.Connection, settings: Settings, school: School
) -> None:
    schedules = Schedules(conn, settings, school)
    batch = await schedules.to_the_course()
    late = "UPDATE batches SET send_at = now() - interval '{}'"
    assert await stuck(conn) == []
    await conn.execute(late.format("55 s"))
    assert await stuck(conn) == []

    await conn.execute(late.format("65 s"))
    assert [(found.id, found.why) for found in await stuck(conn)] == [(batch, "no worker has started it")]

    await conn.execute("UPDATE scheduled_sends SET error = 'KeyError: author_id'")
    assert [found.why for found in await stuck(conn)] == ["KeyError: author_id"]


async def test_the_one_that_stands_still_for_longest_comes_first(conn: asyncpg.Connection) -> None:
    later, first = [await Batches(conn).accept(range(10, 14), chunk_size=2) for _ in range(2)]
    for batch, ago in ((later, 7), (first, 8)):
        moment = timedelta(minutes=ago)
        await conn.execute("UPDATE batches SET created_at = now() - $2::interval WHERE id = $1", batch, moment)
        await conn.execute("UPDATE chunks SET updated_at = now() - $2::interval WHERE batch_id = $1", batch, moment)

    assert [found.id for found in await stuck(conn)] == [first, later]


async def test_each_kind_is_counted(conn: asyncpg.Connection) -> None:
    none = Stuck(0, 0, 0, 0, 0, 0)
    assert await count_stuck(conn, retry_after=RETRY_AFTER) == none
    for state in ("sending", "created", "scheduled", "cancelled", "cancelled"):
        batch = await Batches(conn).accept([10, 11], chunk_size=2)
        await Batches(conn).set_state(batch, state)
    send = "(SELECT min(send_id) FROM batches)"
    await conn.execute(
        "INSERT INTO pending_replies (conversation_id, message_id, send_id, included_message_ids, tags, user_note,"
        f" due_at, failed_at) SELECT 1, n, {send}, '{{}}', '{{}}', false, now() + due, failed"
        " FROM (VALUES (1, '1 min'::interval, NULL::timestamptz), (2, '5 min', NULL), (3, '0', now()))"
        " v(n, due, failed)"
    )
    await conn.execute(
        "INSERT INTO batch_updates (user_id, event, conversation_ids, state, created_at, updated_at, due_at)"
        " SELECT 1, 'star', '{1}', state, now(), now(), now() + due FROM (VALUES ('queued', '1 min'::interval),"
        " ('running', '0'), ('running', '5 min'), ('completed', '0')) v(state, due)"
    )
    for conversation in (2000, 4000, 2001):
        await record_message(conn, Cause({}), conversation, conversation)
    assert await count_stuck(conn, retry_after=RETRY_AFTER) == none

    await conn.execute(AGO.format("6 min"))
    await conn.execute(
        "UPDATE batches SET send_at = now() - interval '6 min'; UPDATE sends SET created_at = now() - interval '6 min';"
        "UPDATE batch_updates SET updated_at = now() - interval '6 min';"
        "UPDATE outbox SET recorded_at = now() - interval '6 min'"
    )

    assert await count_stuck(conn, retry_after=RETRY_AFTER) == Stuck(
        sending=2, scheduled=1, cancelled=2, replies=1, updates=2, events=2
    )
