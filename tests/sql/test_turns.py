"""Turns are as many as were asked for, by whatever plan."""

from datetime import timedelta

import asyncpg
import pytest

from sql import chunks, turns
from sql.turns import Limits
from tests.support.batches import Batches

IN_FLIGHT = Limits(in_flight=3, sender_pace=0, account_pace=0, root_account_id=1, ahead=timedelta())
PATIENCE = timedelta(hours=1)


@pytest.fixture
async def planned(conn: asyncpg.Connection) -> asyncpg.Connection:
    """A connection that made its plans when there was next to nothing in the tables, and keeps them."""
    await conn.execute("VACUUM ANALYZE chunks")
    small = await Batches(conn).accept([10], chunk_size=2, patience=None)
    await turns.take_turns(conn, small, IN_FLIGHT, patience=PATIENCE)
    await chunks.take_due_chunks(conn, patience=PATIENCE, limit=3)
    return conn


async def test_no_more_chunks_are_commanded_than_may_be(planned: asyncpg.Connection) -> None:
    batch = await Batches(planned).accept(range(10, 60), chunk_size=2, patience=None)

    taken = await turns.take_turns(planned, batch, IN_FLIGHT, patience=PATIENCE)

    assert [turn.position for turn in taken] == [0, 1, 2]


async def test_no_more_due_chunks_are_taken_than_the_limit(planned: asyncpg.Connection) -> None:
    await Batches(planned).accept(range(10, 60), chunk_size=2)

    assert len(await chunks.take_due_chunks(planned, patience=PATIENCE, limit=3)) == 3
