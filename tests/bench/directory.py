"""What following the directory live costs: ``python -m tests.bench.directory`` prints one JSON object.

Events of users, enrolments and their states, published confirmed, through the queue into committed rows: by one
``clarion worker --only directory``, once from a queue that is full and once while they are being published; and, in the
same run, by the loop that is usually written, which takes a transaction for every event. The servers are those that
CLARION_DATABASE_URL and CLARION_AMQP_URL name, or private ones of the checkout. Before that, the first day: a file of
1,000,000 events through ``clarion directory load``.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import aio_pika
import asyncpg

from service.application.directory.events import apply
from service.contracts.directory import DirectoryEvent, parse_event
from service.contracts.topology import Topology
from service.runtime import logs
from service.runtime.settings import Settings
from service.runtime.topology import declare
from sql.connection import Connection
from tests.bench.environment import fresh_settings, print_report
from tests.bench.progress import log
from tests.bench.resources import machine, peak_memory, watched_peak
from tests.support.directory_feed import directory_event, feed
from tests.support.processes import Process, environment, installation


@dataclass(frozen=True)
class Sizes:
    """How many events each part takes."""

    events: int = 60_000
    one_by_one: int = 3_000
    lines: int = 1_000_002  # of the file, three for each person


QUICK = Sizes(events=600, one_by_one=60, lines=1_500)


def events(how_many: int) -> Iterator[bytes]:
    """A third each of users, their enrolments and the states of those, with all keys that Canvas sends."""
    for number in range(1, how_many // 3 + 1):
        person, enrolment = 10**13 + number, 10**13 + 10**9 + number
        at = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
        yield from (
            directory_event(
                "user_created",
                **at,
                user_id=str(person),
                uuid=f"uuid-{number}",
                name=f"Student Number {number}",
                short_name=f"Student {number}",
                workflow_state="registered",
                user_login=f"student{number}@school.example",
                user_sis_id=f"S{number}",
            ),
            directory_event(
                "enrollment_created",
                **at,
                enrollment_id=str(enrolment),
                course_id=str(10**13 + number % 500 + 1),
                course_uuid=f"course-{number % 500 + 1}",
                user_id=str(person),
                user_uuid=f"uuid-{number}",
                user_name=f"Student Number {number}",
                type="StudentEnrollment",
                limit_privileges_to_course_section=False,
                course_section_id=str(10**13 + number % 1000 + 1),
                workflow_state="active",
            ),
            directory_event(
                "enrollment_state_created",
                enrollment_id=str(enrolment),
                state="active",
                state_started_at="2026-01-01T00:00:00Z",
                state_is_current=True,
                state_valid_until=None,
                restricted_access=False,
                access_is_current=True,
            ),
        )


@dataclass
class Part:
    """An installation of its own for one part of the run."""

    settings: Settings
    conn: Connection

    async def check(self, how_many: int) -> None:
        """All events are in the tables."""
        whole = "SELECT count(*) FROM enrollments WHERE workflow_state = 'active' AND date_state = 'active'"
        for query in ("SELECT count(*) FROM users", whole):
            found = await self.conn.fetchval(query)
            assert found == how_many // 3, (query, found)


@asynccontextmanager
async def part() -> AsyncIterator[Part]:
    """Empty tables, an empty queue."""
    async with fresh_settings() as settings, await aio_pika.connect(str(settings.amqp_url)) as connection:
        logs.configure(settings.model_copy(update={"log_level": "warning"}))  # stdout is for the report
        await declare(connection, Topology(settings.amqp_prefix))
        conn = await asyncpg.connect(str(settings.database_url))
        yield Part(settings, conn)
        await conn.close()


async def _followed(worker: Process, how_many: int) -> int:
    """Returns when the worker's log says that so many events are committed; in how many sets."""
    sets = 0
    while True:
        lines = [json.loads(line) for line in worker.lines if '"directory_followed"' in line]
        sets = len(lines)
        if sum(line["events"] for line in lines) >= how_many:
            return sets
        await worker.logged('"directory_followed"', times=sets + 1)


async def from_a_file(how_many: int) -> dict[str, Any]:
    """``clarion directory load`` of one file, from the start of the command to its end."""
    async with part() as there:
        with tempfile.NamedTemporaryFile(suffix=".ndjson") as file:
            for line in events(how_many):
                file.write(line + b"\n")
            file.flush()
            started = perf_counter()
            command = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service", "directory", "load", file.name),
                env=environment(there.settings),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            watch = asyncio.create_task(watched_peak(command))
            _, said = await command.communicate()
            seconds = perf_counter() - started
        assert command.returncode == 0, said.decode()
        await there.check(how_many)
        return {
            "lines": how_many,
            "seconds": seconds,
            "per_second": how_many / seconds,
            "peak_memory_bytes": await watch,
            "lines_of_progress": len(said.splitlines()),
        }


async def from_full_queue(how_many: int) -> dict[str, Any]:
    """The queue is full when the worker starts; from its connection to its last commit."""
    async with part() as there, installation(there.settings, fresh=True) as clarion, feed(there.settings) as source:
        await source.publish(*events(how_many))
        worker = await clarion.start("worker", "--only", "directory")
        await worker.logged("broker_connected")
        started = perf_counter()
        sets = await _followed(worker, how_many)
        seconds = perf_counter() - started
        await there.check(how_many)
        return {
            "events": how_many,
            "seconds": seconds,
            "per_second": how_many / seconds,
            "events_per_set": how_many / sets,
            "peak_memory_bytes": peak_memory(worker.pid),
        }


async def while_published(how_many: int) -> dict[str, Any]:
    """From the first publish to the last commit; publisher, broker, worker and database share the machine."""
    async with part() as there, installation(there.settings, fresh=True) as clarion, feed(there.settings) as source:
        worker = await clarion.start("worker", "--only", "directory")
        await worker.logged("broker_connected", times=2)
        made = list(events(how_many))
        started = perf_counter()
        await source.publish(*made)
        published = perf_counter() - started
        sets = await _followed(worker, how_many)
        seconds = perf_counter() - started
        await there.check(how_many)
        return {
            "events": how_many,
            "seconds": seconds,
            "per_second": how_many / seconds,
            "published_per_second": how_many / published,
            "behind_the_publisher_seconds": seconds - published,
            "events_per_set": how_many / sets,
        }


async def one_by_one(how_many: int) -> dict[str, Any]:
    """The queue is full; one event, one transaction, one acknowledgement, with many events prefetched."""
    async with part() as there, feed(there.settings) as source:
        await source.publish(*events(how_many))
        async with await aio_pika.connect(str(there.settings.amqp_url)) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1000)
            queue = await channel.get_queue(Topology(there.settings.amqp_prefix).directory, ensure=False)
            started = perf_counter()
            done = 0
            async with queue.iterator() as messages:
                async for message in messages:
                    event = parse_event(message.body)
                    assert isinstance(event, DirectoryEvent)
                    await apply(there.conn, [event])
                    await message.ack()
                    done += 1
                    if done == how_many:
                        break
            seconds = perf_counter() - started
        await there.check(how_many)
        return {"events": how_many, "seconds": seconds, "per_second": how_many / seconds}


async def measure(sizes: Sizes) -> dict[str, Any]:
    """Everything, on the servers of the environment."""
    report: dict[str, Any] = {"sizes": asdict(sizes), "load_before": round(os.getloadavg()[0], 2)}
    for name, figures in (
        ("from_a_file", from_a_file(sizes.lines)),
        ("from_full_queue", from_full_queue(sizes.events)),
        ("one_by_one", one_by_one(sizes.one_by_one)),
        ("while_published", while_published(sizes.events)),
    ):
        log(name)
        report[name] = await figures
        log(f"  {report[name]['per_second']:,.0f} events a second")
    report["times_one_by_one"] = report["from_full_queue"]["per_second"] / report["one_by_one"]["per_second"]
    async with part() as there:
        report["machine"] = await machine(there.conn, there.settings)
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.directory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    chosen = QUICK if parser.parse_args().quick else Sizes()
    print_report(measure(chosen))
