"""What a process asks of its sessions: how long they may wait, and hold what others wait for."""

from typing import Any

import pytest

from service.runtime.postgres import close_pool, create_pool
from service.runtime.settings import Settings

LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ({}, ["0", "0", "1min"]),
        ({"within": 30.0}, ["22500ms", "15s", "1min"]),  # less than until the deadline, and for a lock less than that
        ({"for_worker": True}, ["75s", "3s", "5s"]),  # less for a lock than until a frozen worker loses its own
    ],
    ids=repr,
)
async def test_no_session_waits_without_end(settings: Settings, kind: dict[str, Any], limits: list[str]) -> None:
    pool = await create_pool(settings, **kind)
    async with pool.acquire() as conn:
        assert [await conn.fetchval("SELECT current_setting($1)", name) for name in LIMITS] == limits
    await close_pool(pool)
