"""Accounts that are merged into merged ones: where a chain ends, and that it may not end at all."""

import asyncpg
import pytest

from service.application.directory.events import apply
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.participants import participant_rows
from tests.support.user_merges import Pairs, everything, merged


@pytest.fixture
def pairs(conn: asyncpg.Connection, threads: Threads) -> Pairs:
    return Pairs(conn, threads)


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    """Ids ascending."""
    return await institution.users(5)


async def test_merges_in_a_circle_move_nothing(conn: asyncpg.Connection, pairs: Pairs, people: list[int]) -> None:
    one, other, peer, *_ = people
    await pairs.send(peer, one)
    before = await everything(conn)
    await apply(conn, [merged(one, other), merged(other, one)])
    assert await everything(conn) == before


async def test_a_merge_into_a_circle_moves_nothing(conn: asyncpg.Connection, pairs: Pairs, people: list[int]) -> None:
    old, one, other, peer, _ = people
    await pairs.send(peer, old)
    await apply(conn, [merged(one, other), merged(other, one)])
    before = await everything(conn)
    await apply(conn, [merged(old, one)])
    assert await everything(conn) == before


async def test_a_chain_ends_at_an_account_that_lives_again(
    conn: asyncpg.Connection, pairs: Pairs, people: list[int]
) -> None:
    old, again, target, peer, _ = people
    made = await pairs.send(peer, old)
    await apply(conn, [merged(again, target)])
    await conn.execute("UPDATE users SET workflow_state = 'registered' WHERE id = $1", again)

    await apply(conn, [merged(old, again, seconds=1)])

    assert set(await participant_rows(conn, made)) == {again, peer}
