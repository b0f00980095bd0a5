"""An import that is killed in the middle goes on when it is run again: whole, and under the same ids."""

import asyncio
import random
import signal
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
    kept: dict[tuple[str, str], int] = {}
    for _ in range(ROUNDS):
        least = await conn.fetchval("SELECT count(*) FROM sis_ids") + chance.randrange(1, 9_000)
        importing = Process(["directory", "import", str(path)], environment(settings))
        await importing.start()
        await until(lambda: _has_ids(conn, least))
        await importing.stop(signal.SIGKILL)
        found = {(kind, sis_id): own for kind, sis_id, own in await conn.fetch("SELECT kind, sis_id, id FROM sis_ids")}
        assert kept.items() <= found.items()
        kept = found
    assert (await clarion(settings, "directory", "import", str(path))).code == 0

    found = {(kind, sis_id): own for kind, sis_id, own in await conn.fetch("SELECT kind, sis_id, id FROM sis_ids")}
    assert kept.items() <= found.items()
    counts = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM enrollments), (SELECT count(*) FROM sections)"
    row = await conn.fetchrow(counts)
    assert row is not None
    assert tuple(row) == (USERS, ENROLLMENTS, ENROLLMENTS // 100)
    verified = await clarion(settings, "directory", "verify", str(path))
    assert (verified.code, verified.err) == (0, "")


async def _has_ids(conn: asyncpg.Connection, least: int) -> bool:
    total = 2 + USERS + ENROLLMENTS + 2 * ENROLLMENTS // 100
    found: int = await conn.fetchval("SELECT count(*) FROM sis_ids")
    return found >= min(least, total)
