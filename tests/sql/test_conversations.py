import asyncpg
import pytest

from service.domain.contexts import Context, ContextType
from sql import conversations
from tests.support.conversations import Threads
from tests.support.institution import Institution


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(2)


async def test_reading_leaves_the_row_in_place_and_every_index_alone(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    """A HOT update: one short record instead of an entry in every index."""
    me, ann = people
    made = await threads.private(ann, me)

    async with conn.transaction():
        await conversations.mark_read(conn, me, made)
        updates = await conn.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'participants'"
        )

    assert tuple(updates or ()) == (1, 1)


async def test_reading_does_not_wait_for_the_disk(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    """It may be forgotten in a crash; what the same connection writes next may not."""
    me, ann = people
    made = await threads.private(ann, me)
    await conn.execute("SET synchronous_commit = on")

    async with conn.transaction():
        await conversations.mark_read(conn, me, made)
        assert await conn.fetchval("SHOW synchronous_commit") == "off"

    assert not await conn.fetchval("SELECT unread FROM participants WHERE user_id = $1", me)
    assert await conn.fetchval("SHOW synchronous_commit") == "on"


@pytest.mark.parametrize("column", ["archived", "unread"])
async def test_reading_touches_nothing_that_does_not_wait(
    conn: asyncpg.Connection, threads: Threads, people: list[int], column: str
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    await threads.update(made, me, **{column: column == "archived"})

    await conversations.mark_read(conn, me, made)

    assert await conn.fetchval("SELECT count(*) FROM participants WHERE touched_at IS NOT NULL") == 0


async def test_standing_says_who_has_a_conversation_and_whether_it_waits(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann = people
    made = await threads.private(ann, me, context=("Group", 7))

    mine = await conversations.find_own_conversation(conn, me, made)
    hers = await conversations.find_own_conversation(conn, ann, made)

    assert mine == conversations.OwnConversation(made, True, Context(ContextType.GROUP, 7))
    assert hers is not None
    assert not hers.waiting
    assert await conversations.find_own_conversation(conn, me, made + 1) is None
    await threads.delete(made, me)
    assert await conversations.find_own_conversation(conn, me, made) is None
