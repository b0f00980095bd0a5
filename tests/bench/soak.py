"""Whether an installation that is kept busy stays as it is: ``python -m tests.bench.soak`` prints one JSON object.

For an hour (``--minutes``) people list, open, count and write, a teacher writes to a whole course, into new threads and
into those that are there, and what has ended is made two days old, so that retention removes it. Meanwhile the memory
and the open files of each process, the connections to the database and the dead rows of its tables are looked at: the
first quarter is for warming up, the last one is held against the second. Messages are never removed, so the database
grows; nothing else should.
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import count, cycle
from statistics import median
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg

from sql.connection import Connection
from tests.bench.environment import HOT_TABLES, fresh_settings, print_report
from tests.bench.institution import Course, Institution
from tests.bench.pace import paced, set_after
from tests.bench.progress import log
from tests.bench.resources import machine, memory, open_files
from tests.bench.sending import accept, assert_exactly_once, finished
from tests.support.processes import Client, Installation, Process, installation

WORKERS = 2
TABLES = (*HOT_TABLES, "idempotency_keys", "throttle_buckets", "batch_updates", "skipped_recipients")
MEMORY_GROWTH = 1.1  # of a process, last quarter to second, by the medians
MORE_FILES, MORE_CONNECTIONS = 32, 4  # by the largest of both; clients keep theirs open for a while
# Autovacuum looks once a minute, and lets a table have 5000 dead rows and a fiftieth (sql/migrations).
DEAD_ROWS, DEAD_SHARE = 50_000, 0.1

_ACTIVITY = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
_ROWS = """
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, autovacuum_count AS visits
FROM pg_stat_user_tables WHERE relname = ANY ($1)
"""
# As if it had ended two days ago. What is under way, not audited or not measured is left.
_AGE = """
UPDATE batches SET finished_at = finished_at - interval '2 days', audited_end = audited_end - interval '2 days',
                   measured_end = measured_end - interval '2 days'
WHERE finished_at > now() - interval '1 day' AND audited_end >= finished_at AND measured_end >= finished_at
"""


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    minutes: float = 60
    course: int = 2_000
    people: int = 100  # who read and write besides
    per_second: float = 3  # of each kind of request
    send_every: float = 5  # seconds
    looks: int = 120


QUICK = Sizes(minutes=0.1, course=100, people=10, per_second=5, send_every=0.5, looks=12)


@dataclass(frozen=True)
class Look:
    """What one look has found; memory in bytes, by process."""

    memory: dict[str, int]
    files: dict[str, int]
    connections: int
    dead: dict[str, tuple[int, int]]  # dead and live rows by table
    visits: int  # of autovacuum, to all of these tables so far


@dataclass
class Load:
    """What is asked of the service; ``answers`` by status."""

    conn: Connection
    course: Course
    teacher: Client
    clients: dict[int, Client]
    shown: dict[int, int]  # a conversation of each
    answers: Counter[int] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)

    async def run(self, sizes: Sizes, done: asyncio.Event) -> None:
        """Until it is done; what was begun is brought to its end."""
        people = cycle(self.clients)
        pairs = cycle(zip(list(self.clients), list(self.clients)[1:], strict=False))
        keys = count()

        async def call(user_id: int, method: str, path: str, **parameters: Any) -> None:
            status, _, _ = await self.clients[user_id].call(method, path, **parameters)
            self.answers[status] += 1

        async def page() -> None:
            await call(next(people), "GET", "/conversations")

        async def unread() -> None:
            await call(next(people), "GET", "/conversations/unread_count")

        async def show() -> None:
            user_id = next(people)
            await call(user_id, "GET", f"/conversations/{self.shown[user_id]}")

        async def write() -> None:
            author, reader = next(pairs)
            message = {"recipients": [str(reader)], "body": "Hello", "context_code": f"course_{self.course.id}"}
            key = {"Idempotency-Key": f"{uuid4()}-{next(keys)}"}
            await call(author, "POST", "/conversations", json=message, headers=key)

        async def star() -> None:
            user_id = next(people)
            change = {"conversation_ids": [self.shown[user_id]], "event": "star"}
            await call(user_id, "PUT", "/conversations", json=change)

        kinds = (page, unread, show, write, star)
        await asyncio.gather(
            *(paced(kind, per_second=sizes.per_second, done=done) for kind in kinds), self._send(sizes, done)
        )

    async def _send(self, sizes: Sizes, done: asyncio.Event) -> None:
        """One send after the other, every other one into threads that are there."""
        for number in count():
            if done.is_set():
                return
            due = monotonic() + sizes.send_every
            self.batches.append(await accept(self.teacher, self.course, private=bool(number % 2)))
            await finished(self.teacher, self.batches[-1])
            await assert_exactly_once(self.conn, self.batches[-1], len(self.course.students))
            await self.conn.execute(_AGE)
            await asyncio.sleep(max(due - monotonic(), 0))


async def _looks(conn: Connection, processes: dict[str, Process], sizes: Sizes, done: asyncio.Event) -> list[Look]:
    made: list[Look] = []
    pause = sizes.minutes * 60 / sizes.looks
    while not done.is_set():
        rows = await conn.fetch(_ROWS, TABLES)
        made.append(
            Look(
                {name: memory(process.pid) for name, process in processes.items()},
                {name: open_files(process.pid) for name, process in processes.items()},
                await conn.fetchval(_ACTIVITY),
                {row["name"]: (row["dead"], row["live"]) for row in rows},
                sum(row["visits"] for row in rows),
            )
        )
        if len(made) % max(sizes.looks // 60, 1) == 0:
            sizes_now = ", ".join(f"{name} {size >> 20} MB" for name, size in made[-1].memory.items())
            log(f"{len(made)} of {sizes.looks}: {sizes_now}, {made[-1].connections} connections")
        await asyncio.sleep(pause)
    return made


def verdicts(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """The last quarter of the looks beside the second one."""
    quarter = len(looks) // 4
    before, after = looks[quarter : 2 * quarter], looks[-quarter:]
    found: list[dict[str, Any]] = []

    def verdict(what: str, measured: float, bound: float) -> None:
        found.append({"what": what, "measured": round(measured, 3), "bound": bound, "held": measured <= bound})

    for name in looks[0].memory:
        grown = median(look.memory[name] for look in after) / median(look.memory[name] for look in before)
        verdict(f"memory of {name}, last quarter to second", grown, MEMORY_GROWTH)
        files = max(look.files[name] for look in after) - max(look.files[name] for look in before)
        verdict(f"open files of {name}, last quarter less second", files, MORE_FILES)
    connections = max(look.connections for look in after) - max(look.connections for look in before)
    verdict("connections to the database, last quarter less second", connections, MORE_CONNECTIONS)
    for table in sorted(looks[-1].dead):
        excess = max(dead - DEAD_SHARE * live for look in after for dead, live in [look.dead[table]])
        verdict(f"dead rows of {table} beyond a tenth of the living ones", max(excess, 0), DEAD_ROWS)
    return found


async def _load(conn: Connection, clarion: Installation, session: aiohttp.ClientSession, sizes: Sizes) -> Load:
    institution = Institution(conn)
    await institution.open()
    course = await institution.course(sizes.course)
    teacher = Client(session, clarion.url, await institution.token(course.teacher))
    chosen = list(course.students[: sizes.people])
    tokens = await institution.tokens(chosen)
    clients = {user: Client(session, clarion.url, token) for user, token in zip(chosen, tokens, strict=True)}
    await finished(teacher, await accept(teacher, course))
    shown = await conn.fetch(
        "SELECT user_id, min(conversation_id) AS shown FROM participants WHERE user_id = ANY ($1) GROUP BY 1", chosen
    )
    return Load(conn, course, teacher, clients, {row["user_id"]: row["shown"] for row in shown})


async def measure(sizes: Sizes) -> dict[str, Any]:
    """Everything, on the servers of the environment."""
    async with (
        fresh_settings() as fresh,
        installation(fresh.model_copy(update={"retention_days": 1, "throttle_maximum": 0}), fresh=True) as clarion,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        conn = await asyncpg.connect(str(fresh.database_url))
        looking = await asyncpg.connect(str(fresh.database_url))
        started = await asyncio.gather(clarion.api(), *(clarion.worker() for _ in range(WORKERS)))
        names = ("gateway", *(f"worker {number}" for number in range(1, WORKERS + 1)))
        load = await _load(conn, clarion, session, sizes)
        done = await set_after(sizes.minutes * 60)
        looks, _ = await asyncio.gather(
            _looks(looking, dict(zip(names, started, strict=True)), sizes, done), load.run(sizes, done)
        )
        report = {
            "sizes": asdict(sizes),
            "machine": await machine(conn, fresh),
            "answers": {str(status): number for status, number in sorted(load.answers.items())},
            "sends": len(load.batches),
            "recipients": len(load.batches) * len(load.course.students),
            "forgotten_batches": await conn.fetchval("SELECT count(*) FROM batches WHERE forgotten_at IS NOT NULL"),
            "chunks_left": await conn.fetchval("SELECT count(*) FROM chunks"),
            "autovacuum_visits": looks[-1].visits,
            "memory_mb": {name: look >> 20 for name, look in looks[-1].memory.items()},
            "most_connections": max(look.connections for look in looks),
            "most_dead_rows": {table: max(look.dead[table][0] for look in looks) for table in looks[-1].dead},
            "verdicts": verdicts(looks),
        }
        await conn.close()
        await looking.close()
        return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=Sizes.minutes, help="how long, after a short preparation")
    parser.add_argument("--quick", action="store_true", help="some seconds, to see that everything works")
    asked = parser.parse_args()
    print_report(measure(QUICK if asked.quick else Sizes(minutes=asked.minutes)))
