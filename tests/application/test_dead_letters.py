"""Dead commands that are requeued: what was given up with them is to be done again, and what is done stays done."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from service.application.dead_letters import CHUNKS_AT_ONCE, revive
from service.contracts.commands import AnyCommand, DeliverChunk, DeliverReply, PlanBatch, UpdateConversations
from service.domain.participant import Event
from sql import batch_updates, chunks
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.user_merges import until_waiting

SOON = timedelta(seconds=30)


async def reasons(conn: Connection, *commands: AnyCommand) -> list[str | None]:
    """Of each command, why it has nothing to do."""
    return await revive(conn, [command.model_dump_json().encode() for command in commands], due_after=SOON)


async def given_up(conn: asyncpg.Connection, *, of: int, failed: int) -> list[DeliverChunk]:
    """A batch of so many chunks of two recipients, the first ``failed`` of which were given up."""
    batch = await Batches(conn).accept(range(10, 10 + 2 * of), chunk_size=2)
    commands = [DeliverChunk(batch_id=batch, position=position) for position in range(of)]
    for command in commands[:failed]:
        await conn.execute("UPDATE chunks SET attempts = 5, redeliveries = 3 WHERE position = $1", command.position)
        await chunks.fail_chunk(conn, batch, command.position, error="no", cause=None)
    return commands


async def batch_row(conn: asyncpg.Connection) -> tuple[object, ...]:
    """State and counters of the one batch, and whether it has an end."""
    row = await conn.fetchrow("SELECT state, failed, delivered, total, finished_at IS NOT NULL FROM batches")
    assert row is not None
    return tuple(row)


async def test_chunks_that_were_given_up_are_pending_again_and_their_batch_goes_on(conn: asyncpg.Connection) -> None:
    first, second, _ = commands = await given_up(conn, of=3, failed=3)
    assert await batch_row(conn) == ("error", 6, 0, 6, True)

    assert await reasons(conn, first, second, first) == [None, None, None]

    assert await batch_row(conn) == ("sending", 2, 0, 6, False)
    rows = await conn.fetch(
        "SELECT state, attempts, redeliveries, error, tried_at, due_at > now() AS later FROM chunks ORDER BY position"
    )
    assert [tuple(row) for row in rows] == [
        ("pending", 0, 0, None, None, True),
        ("pending", 0, 0, None, None, True),
        ("failed", 5, 3, "no", None, False),
    ]
    assert await reasons(conn, *commands) == [None, None, None]
    assert await batch_row(conn) == ("sending", 0, 0, 6, False)


async def test_many_chunks_are_brought_back_a_few_at_a_time(conn: asyncpg.Connection, pool: asyncpg.Pool) -> None:
    """Merges and sends wait for each few, and never for all of them: these are committed when the last ones wait."""
    commands = await given_up(conn, of=2 * CHUNKS_AT_ONCE + 1, failed=2 * CHUNKS_AT_ONCE + 1)
    pending = "SELECT count(*) FROM chunks WHERE state = 'pending'"

    async def bring_back() -> list[str | None]:
        async with pool.acquire() as own:
            return await reasons(own, *reversed(commands), commands[0])

    async with pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM chunks WHERE position = $1 FOR UPDATE", commands[-1].position)
        reviving = asyncio.create_task(bring_back())
        await until_waiting(conn)
        assert await conn.fetchval(pending) == 2 * CHUNKS_AT_ONCE

    assert await reviving == [None] * (len(commands) + 1)
    assert await conn.fetchval(pending) == len(commands)
    assert await batch_row(conn) == ("sending", 0, 0, 2 * len(commands), False)


async def test_a_chunk_that_has_nothing_left_to_do_is_left_and_the_reason_is_given(conn: asyncpg.Connection) -> None:
    failed, _ = await given_up(conn, of=2, failed=1)
    await conn.execute("UPDATE chunks SET state = 'delivered' WHERE position = 1")
    await Batches(conn).set_state(failed.batch_id, "cancelled")

    delivered, unknown = (failed.model_copy(update={"position": position}) for position in (1, 2))
    assert await reasons(conn, failed, delivered, unknown) == [
        "name a chunk of a batch that is cancelled",
        "name a chunk that is delivered",
        "name a chunk that there is not",
    ]

    assert await batch_row(conn) == ("cancelled", 2, 0, 4, False)
    assert await conn.fetchval("SELECT state FROM chunks WHERE position = 0") == "failed"


@pytest.mark.parametrize("state", ["paused", "sending"])
async def test_a_batch_that_has_not_ended_keeps_its_state(conn: asyncpg.Connection, state: str) -> None:
    failed, _ = await given_up(conn, of=2, failed=1)
    await Batches(conn).set_state(failed.batch_id, state)

    assert await reasons(conn, failed) == [None]

    assert await batch_row(conn) == (state, 0, 0, 4, False)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("created", None),
        ("sending", None),
        ("paused", "name a batch that is paused"),
        ("cancelled", "name a batch that is cancelled"),
        ("sent", "name a batch that is sent"),
        ("error", "name a batch that ended with chunks that were given up"),
    ],
)
async def test_a_batch_is_planned_again_where_it_goes_on(
    conn: asyncpg.Connection, state: str, reason: str | None
) -> None:
    failed, _ = await given_up(conn, of=2, failed=1)
    await Batches(conn).set_state(failed.batch_id, state)

    assert await reasons(conn, PlanBatch(batch_id=failed.batch_id)) == [reason]


async def test_a_batch_of_which_no_chunk_is_pending_is_not_planned_again(conn: asyncpg.Connection) -> None:
    """Unless chunks of it are requeued together with its plan, in whatever order."""
    command, other = await given_up(conn, of=2, failed=2)
    plan = PlanBatch(batch_id=command.batch_id)
    await Batches(conn).set_state(command.batch_id, "sending")

    assert await reasons(conn, plan, PlanBatch(batch_id=command.batch_id + 1)) == [
        "name a batch of which nothing is left to plan",
        "name a batch that there is not",
    ]
    assert await reasons(conn, plan, command) == [None, None]
    await conn.execute("UPDATE chunks SET state = 'delivered'")
    assert await reasons(conn, plan, other) == [
        "name a batch of which nothing is left to plan",
        "name a chunk that is delivered",
    ]


async def test_updates_that_were_given_up_are_queued_again_and_no_others(conn: asyncpg.Connection) -> None:
    failed, cancelled, done, waiting = [
        (
            await batch_updates.insert_progress(
                conn, user_id=1, event=Event.STAR, conversation_ids=["1"], patience=timedelta()
            )
        ).id
        for _ in range(4)
    ]
    await batch_updates.fail_progress(conn, failed, error="no", message="no")
    await batch_updates.cancel_progress(conn, cancelled, "changed my mind")
    await conn.execute("UPDATE batch_updates SET state = 'completed' WHERE id = $1", done)
    await conn.execute("UPDATE batch_updates SET attempts = 5, redeliveries = 3, tried_at = now()")

    commands = [UpdateConversations(progress_id=id_) for id_ in (failed, cancelled, done, waiting, waiting + 1)]
    assert await reasons(conn, *commands) == [
        None,
        "name a batch update that was cancelled",
        "name a batch update that is completed",
        None,
        "name a batch update that there is not",
    ]

    rows = await conn.fetch("SELECT state, attempts, redeliveries, message, error FROM batch_updates ORDER BY id")
    assert [tuple(row) for row in rows[:2]] == [("queued", 0, 0, None, None), ("failed", 5, 3, "changed my mind", None)]
    assert [row["state"] for row in rows[2:]] == ["completed", "queued"]


async def test_a_reply_that_is_delivered_has_nothing_left_to_do(conn: asyncpg.Connection) -> None:
    waiting = await conn.fetchval(
        "INSERT INTO pending_replies (conversation_id, message_id, send_id, included_message_ids, tags, user_note,"
        " due_at, failed_at) VALUES (1, 2, 3, '{}', '{}', false, now(), now()) RETURNING id"
    )

    assert await reasons(conn, DeliverReply(reply_id=waiting), DeliverReply(reply_id=waiting + 1)) == [
        None,
        "name a reply that is delivered",
    ]


async def test_what_is_no_command_is_left_to_its_consumer(conn: asyncpg.Connection) -> None:
    assert await revive(conn, [b"poison", b"{}"], due_after=SOON) == [None, None]
