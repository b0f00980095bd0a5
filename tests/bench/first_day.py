"""The first day: ``python -m tests.bench.first_day`` prints one JSON object.

From an empty database and a zip of Canvas SIS CSV with 100,000 users to the first delivered message: ``clarion
migrate``, ``directory import``, ``api``, ``worker``, ``token create``, one message to a course, and the look into an
inbox that shows it. Then the same import again, and what ``directory verify`` makes of it; and one file of 1,000,000
enrolments. The servers are those of CLARION_DATABASE_URL and CLARION_AMQP_URL, or private ones.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import asyncpg

from service.runtime.settings import Settings
from tests.bench.environment import fresh_settings, print_report
from tests.bench.progress import log
from tests.bench.resources import machine, watched_peak
from tests.support.processes import Client, environment, installation
from tests.support.snapshots import canvas_tables, write_zip


@dataclass(frozen=True)
class Sizes:
    """How much the snapshots hold."""

    users: int = 100_000
    enrollments: int = 300_000
    many_enrollments: int = 1_000_000


QUICK = Sizes(users=2_000, enrollments=4_000, many_enrollments=8_000)


_CLASSMATES = """
SELECT t.user_id, s.user_id, s.course_id FROM enrollments s JOIN enrollments t USING (course_id)
WHERE s.type = 'StudentEnrollment' AND t.type = 'TeacherEnrollment' LIMIT 1
"""


@dataclass(frozen=True)
class Run:
    """What one command has cost."""

    seconds: float
    peak_memory_bytes: int
    out: str


async def command(settings: Settings, *arguments: str) -> Run:
    """One ``clarion`` command, from its start to its end."""
    started = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", *arguments),
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    peak = asyncio.create_task(watched_peak(process))
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return Run(perf_counter() - started, await peak, out.decode())


async def first_message(settings: Settings, conn: asyncpg.Connection, path: Path) -> dict[str, Any]:
    """All that stands between an empty database and a message in an inbox."""
    started = perf_counter()
    await command(settings, "migrate")
    loaded = await command(settings, "directory", "import", str(path))
    parts = {"import_seconds": loaded.seconds, "import_peak_memory_bytes": loaded.peak_memory_bytes}
    async with installation(settings, fresh=True) as clarion, aiohttp.ClientSession() as session:
        await clarion.api()
        await clarion.worker()
        found = await conn.fetchrow(_CLASSMATES)
        assert found is not None
        teacher, student, course = found
        users = [argument for user in (teacher, student) for argument in ("--user", str(user))]
        sender, reader = (await command(settings, "token", "create", *users)).out.split()
        request = {"recipients": [f"course_{course}_students"], "body": "Welcome", "context_code": f"course_{course}"}
        bulk = {"group_conversation": True, "bulk_message": True, "mode": "async"}
        status, body, _ = await Client(session, clarion.url, sender).call("POST", "/conversations", json=request | bulk)
        assert status == 202, body
        status, body, _ = await Client(session, clarion.url, reader).call("GET", "/conversations")
        assert [each["last_message"] for each in body] == ["Welcome"], body
        seconds = perf_counter() - started
    return {"seconds": seconds, **parts}


async def measure(sizes: Sizes) -> dict[str, Any]:
    """Everything, on the servers of the environment."""
    report: dict[str, Any] = {"sizes": asdict(sizes), "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory() as folder:
        path, many = Path(folder) / "day.zip", Path(folder) / "many.zip"
        await asyncio.to_thread(write_zip, path, canvas_tables(sizes.users, sizes.enrollments))
        tables = canvas_tables(sizes.users, sizes.many_enrollments)
        await asyncio.to_thread(write_zip, many, {"enrollments.csv": tables["enrollments.csv"]})
        async with fresh_settings(migrated=False) as settings:
            conn = await asyncpg.connect(str(settings.database_url))
            log("first message")
            report["first_message"] = await first_message(settings, conn, path)
            log(f"  {report['first_message']['seconds']:.0f} s")
            rows = await conn.fetchval("SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM enrollments)")
            assert rows == sizes.users + sizes.enrollments, rows
            for name, arguments, count in (
                ("again", ("import", str(path)), rows),
                ("verify", ("verify", str(path)), rows),
                ("many_enrollments", ("import", str(many)), sizes.many_enrollments),
            ):
                log(name)
                run = await command(settings, "directory", *arguments)
                report[name] = {
                    "seconds": run.seconds,
                    "rows_per_second": count / run.seconds,
                    "peak_memory_bytes": run.peak_memory_bytes,
                }
                log(f"  {report[name]['rows_per_second']:,.0f} rows a second")
            report["machine"] = await machine(conn, settings)
            await conn.close()
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.first_day", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    chosen = QUICK if parser.parse_args().quick else Sizes()
    print_report(measure(chosen))
