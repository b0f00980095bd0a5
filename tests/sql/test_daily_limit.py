"""What one sender starts at the same time is counted one after the other."""

import asyncio

import asyncpg
import pytest

from sql.daily_limit import count_send, recipients_started
from tests.support.waiting import until

SENDER, OTHER, LIMIT = 101, 102, 10


async def _waits(pool: asyncpg.Pool) -> bool:
    """Asked outside of any transaction: within one, what was seen first is seen again."""
    found: bool = await pool.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return found


async def _counted(pool: asyncpg.Pool, sender: int, recipients: int) -> bool:
    async with pool.acquire() as conn, conn.transaction():
        return await count_send(conn, sender, recipients, limit=LIMIT)


@pytest.mark.parametrize("kept", [True, False])
async def test_who_comes_second_waits_and_sees_what_the_first_has_counted(pool: asyncpg.Pool, kept: bool) -> None:
    async with pool.acquire() as conn:
        first = conn.transaction()
        await first.start()
        assert await count_send(conn, SENDER, 6, limit=LIMIT)
        second = asyncio.create_task(_counted(pool, SENDER, 6))
        await until(lambda: _waits(pool))
        assert await _counted(pool, OTHER, LIMIT)

        await (first.commit() if kept else first.rollback())

        assert await second is not kept
        assert await recipients_started(conn, SENDER) == 6
