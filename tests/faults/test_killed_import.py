"""An import that is killed in the middle goes on when it is run again: whole, and under the same ids."""

import asyncio
import random
import signal
from functools import partial
from pathlib import Path

import asyncpg

from service.runtime.settings import Settings
from tests.support.commands import clarion
from tests.support.processes import Process, environment
from tests.support.snapshots import canvas_tables, write_zip
from tests.support.waiting import until

USERS, ENROLLMENTS = 6_000, 24_000
ROUNDS = 3


async def test_an_import_killed_at_random_moments_goes_on(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path, chance: random.Random
) -> None:
    path = tmp_path / "day.zip"
    await asyncio.to_thread(write_zip, path, canvas_tables(USERS, ENROLLMENTS))
    kept = await _ids(conn)
    for _ in range(ROUNDS):
        importing = Process(["directory", "import", str(path)], environment(settings))
        await importing.start()
        await until(partial(_has_ids, conn, len(kept) + chance.randrange(1, 9_000)))
        await importing.stop(signal.SIGKILL)
        before, kept = kept, await _ids(conn)
        assert before.items() <= kept.items()
    assert (await clarion(settings, "directory", "import", str(path))).code == 0

    assert kept.items() <= (await _ids(conn)).items()
    for table, rows in (("users", USERS), ("enrollments", ENROLLMENTS), ("sections", ENROLLMENTS // 100)):
        assert await conn.fetchval(f"SELECT count(*) FROM {table}") == rows
    assert (await clarion(settings, "directory", "verify", str(path))).code == 0


async def _ids(conn: asyncpg.Connection) -> dict[tuple[str, str], int]:
    rows = await conn.fetch("SELECT kind, sis_id, id FROM sis_ids")
    return {(kind, sis_id): own for kind, sis_id, own in rows}


async def _has_ids(conn: asyncpg.Connection, least: int) -> bool:
    total = 2 + USERS + ENROLLMENTS + 2 * ENROLLMENTS // 100
    found: int = await conn.fetchval("SELECT count(*) FROM sis_ids")
    return found >= min(least, total)
