"""How long statements take, by name, and how long a connection is waited for, is a figure."""

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.runtime import database_figures
from service.runtime.metrics import exposition
from service.runtime.postgres import close_pool, create_pool
from service.runtime.settings import Settings
from sql.health import database_answers
from sql.statements import STATEMENTS
from tests.support.figures import value
from tests.support.waiting import until


async def test_a_statement_is_counted_under_its_name_and_others_as_one(settings: Settings) -> None:
    names = ("database_answers", "begin", "commit", "other")
    before = {name: value("api", "clarion_statement_seconds_count", statement=name) for name in names}
    pool = await create_pool(settings)

    async with pool.acquire() as conn, conn.transaction():
        await database_answers(conn)
        for number in range(3):
            await conn.execute(f"SELECT {number}")
    await close_pool(pool)

    after = {name: value("api", "clarion_statement_seconds_count", statement=name) for name in names}
    assert {name: after[name] - before[name] for name in names} == {
        "database_answers": 1, "begin": 1, "commit": 1, "other": 3,
    }  # fmt: skip


async def test_a_slow_statement_is_counted_also_when_it_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_figures, "SLOW", 0.0)
    before = value("api", "clarion_statements_slow_total", statement="other")
    pool = await create_pool(settings)

    async with pool.acquire() as conn:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await conn.execute("SELECT 1 / 0")
    await close_pool(pool)

    assert value("api", "clarion_statements_slow_total", statement="other") == before + 1


async def test_labels_are_as_many_as_there_are_statements() -> None:
    """What was never named, as the text of a statement made by hand, is no label."""
    families = text_string_to_metric_families(exposition("api").decode())
    seen = {s.labels["statement"] for f in families if f.name == "clarion_statement_seconds" for s in f.samples}

    assert seen <= STATEMENTS.keys() | {"begin", "commit", "rollback", "other"}


async def test_who_waits_for_a_connection_is_counted_and_who_waits_in_vain(settings: Settings) -> None:
    pool = await create_pool(settings, size=1)
    timeouts, waits = value("api", "clarion_pool_timeouts_total"), value("api", "clarion_pool_wait_seconds_count")
    waiting = value("api", "clarion_pool_waiting")

    async with pool.acquire():
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=0.01)
        with pytest.raises(TimeoutError):
            async with pool.acquire(timeout=0.01):
                pass
    conn = await pool.acquire()
    await pool.release(conn)
    await close_pool(pool)

    assert value("api", "clarion_pool_timeouts_total") == timeouts + 2
    assert value("api", "clarion_pool_wait_seconds_count") == waits + 4
    await until(lambda: value("api", "clarion_pool_waiting") == waiting)
