"""The search for recipients: ``python -m tests.bench.search`` prints one JSON object; progress goes to stderr.

An institution of 100,000 on a fresh database, all of them in one course. Times are the database's own, of every
statement that an answer takes, as EXPLAIN (ANALYZE, BUFFERS) reports them on warm pages, the least of some rounds; the
plan of each statement that looks for people or counts them is printed as well, and the slowest case by itself.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg

from service.application.search.recipients import Search, search
from service.domain.avatars import Avatars
from service.domain.bookmarks import MarkedPage, PersonMark
from service.domain.search import Kind, parse_place
from service.runtime.postgres import create_pool
from service.runtime.settings import Settings
from sql.connection import Connection
from sql.statements import STATEMENTS
from tests.bench.environment import fresh_settings, print_report, settle
from tests.bench.institution import Course, Institution
from tests.bench.progress import log

_AVATARS = Avatars("https://clarion.example")
_PEOPLE = frozenset({Kind.USER})
_LOOKING_FOR_PEOPLE = ("search_among_few", "search_in_rosters", "search_by_name", "search_by_match", "count_enrolled")
_NAMES = {statement.text: statement.name for statement in STATEMENTS.values()}

# 100 given names and 10,000 surnames of syllables, so that a name is as rare as names are. One person in fifty is
# called Zuzzen: a crowd that stands together at the end of every list.
_NAME_EVERYBODY = """
UPDATE users SET
    name = given || ' ' || surname, short_name = given || ' ' || surname, sortable_name = surname || ', ' || given
FROM (
    SELECT id AS named, initcap(s[1 + id % 10] || s[1 + id / 10 % 10]) AS given,
           CASE WHEN id % 50 = 49 THEN 'Zuzzen' ELSE
               initcap(s[1 + id * 7 % 10] || s[1 + id / 7 % 10] || s[1 + id / 70 % 10] || s[1 + id / 700 % 10])
           END AS surname
    FROM users, (SELECT ARRAY['ba','del','fin','gor','hul','jam','ket','lom','nir','pas'] AS s) AS syllables
) AS names
WHERE id = named
"""
# People who come together and are called alike: their names lie behind those of everybody else.
_NAME_ALIKE = "UPDATE users SET sortable_name = 'Zy' || sortable_name WHERE id = ANY ($1::bigint[])"


@dataclass(frozen=True)
class Sizes:
    """How much a run does."""

    people: int = 100_000
    clustered: int = 10_000  # of them in a second course, their names side by side
    small: int = 30  # members of a third
    rounds: int = 20


QUICK = Sizes(people=3_000, clustered=300, rounds=3)


@dataclass(frozen=True)
class Case:
    """One search."""

    name: str
    viewer: int
    asked: Search
    page: MarkedPage


class Watched:
    """A connection whose statements are noted."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._seen: list[tuple[str, Sequence[Any]]] = []
        conn.add_query_logger(lambda query: self._seen.append((query.query, query.args)))

    async def measure(self, case: Case, rounds: int) -> dict[str, Any]:
        """Wall times of the whole search, and what the database says about each statement of it."""
        seconds = []
        for _ in range(rounds):
            self._seen.clear()
            start = perf_counter()
            found = await search(self._conn, case.viewer, case.asked, case.page, _AVATARS)
            seconds.append(perf_counter() - start)
        statements = [(text, args) for text, args in self._seen if text in _NAMES]
        explained = [(_NAMES[text], await self._explain(text, args, rounds)) for text, args in statements]
        figures = {
            "found": len(found.items),
            "statements": len(statements),
            "search_ms": round(median(seconds) * 1000, 2),
            "database_ms": round(sum(milliseconds for _, (milliseconds, _) in explained), 2),
            "people_ms": [
                (n, round(milliseconds, 2)) for n, (milliseconds, _) in explained if n in _LOOKING_FOR_PEOPLE
            ],
        }
        log(f"  {case.name}: {json.dumps(figures)}")
        return figures | {"plans": [(n, plan) for n, (_, plan) in explained if n in _LOOKING_FOR_PEOPLE]}

    async def _explain(self, text: str, args: Sequence[Any], rounds: int) -> tuple[float, list[str]]:
        """The least execution time of all rounds, in milliseconds, which owes least to what else runs; and its plan."""
        plans = []
        for _ in range(rounds):
            rows = await self._conn.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {text}", *args)
            plans.append([row[0] for row in rows])
        return min(((_milliseconds(plan), plan) for plan in plans), key=lambda timed: timed[0])


def _milliseconds(plan: Sequence[str]) -> float:
    """Execution time; planning is paid once for each connection."""
    line = next(line for line in plan if line.startswith("Execution Time: "))
    return float(line.split()[2])


async def _institution(conn: Connection, sizes: Sizes) -> tuple[Course, Course, Course, int]:
    """The course of everybody, the clustered one, the small one, and an administrator of the whole."""
    made = Institution(conn)
    await made.open()
    everybody = await made.users(sizes.people)
    large = await made.course_of(everybody[0], everybody[1:])
    clustered = await made.course_of(everybody[1], everybody[2 : 2 + sizes.clustered])
    small = await made.course_of(everybody[-1], everybody[-1 - sizes.small : -1])
    await conn.execute(_NAME_EVERYBODY)
    await conn.execute(_NAME_ALIKE, list(clustered.students))
    (admin,) = await made.users(1)
    await conn.execute(
        "INSERT INTO account_users (id, account_id, user_id, role, as_of) VALUES (1, 1, $1, 'AccountAdmin', now())",
        admin,
    )
    await settle(conn)
    return large, clustered, small, admin


async def _cases(conn: Connection, sizes: Sizes) -> list[Case]:
    large, clustered, small, admin = await _institution(conn, sizes)
    full_name: str = await conn.fetchval("SELECT name FROM users WHERE id = $1", large.students[sizes.people // 2])
    (middle,) = await conn.fetch(
        "SELECT sort_name, id FROM addressees ORDER BY sort_name, id OFFSET $1 LIMIT 1", sizes.people // 2
    )

    def people(name: str, viewer: int, terms: str | None, context: str | None = None, **page: Any) -> Case:
        asked = Search(terms=None if terms is None else terms.split(), place=parse_place(context), kinds=_PEOPLE)
        return Case(name, viewer, asked, MarkedPage(**{"size": 10} | page))

    teacher, student, course = large.teacher, large.students[7], f"course_{large.id}"
    return [
        people("first page of the large course", student, None, course),
        people("page in its middle", student, None, course, after=PersonMark(middle["sort_name"], middle["id"])),
        people("a hundred at once", student, None, course, size=100),
        people("its teachers", student, None, f"{course}_teachers"),
        people("everything, by a student", student, ""),
        people("a common name", student, "gor"),
        people("two letters", student, "lo"),
        people("a full name", student, full_name),
        people("a full name within the course", student, full_name, course),
        people("a rare letter", student, "z"),
        people("two letters that never meet", student, "qx"),
        people("a name that no user has", student, "quixote"),
        people("a crowd at the end of the list", student, "zuzzen"),
        people("a course whose names lie together", clustered.teacher, None, f"course_{clustered.id}"),
        people("a name within it", clustered.teacher, full_name, f"course_{clustered.id}"),
        people("a letter within it", clustered.teacher, "b", f"course_{clustered.id}"),
        people("a small course", small.teacher, None, f"course_{small.id}"),
        people("a common name on the rosters", admin, "gor"),
        people("a full name on the rosters", admin, full_name),
        Case("contexts and people, 100,000 counted", teacher, Search(terms=["1"]), MarkedPage(10)),
        Case("parts of the large course", teacher, Search(place=parse_place(course), synthetic=True), MarkedPage(10)),
    ]


async def measure(sizes: Sizes) -> dict[str, Any]:
    """The whole run; the report."""
    settings: Settings
    async with fresh_settings() as settings:
        conn = await asyncpg.connect(str(settings.database_url), command_timeout=1800)
        log(f"an institution of {sizes.people:,}")
        cases = await _cases(conn, sizes)
        await conn.close()
        pool = await create_pool(settings, size=1)
        async with pool.acquire() as pooled:
            watched = Watched(pooled)
            figures = {case.name: await watched.measure(case, sizes.rounds) for case in cases}
        await pool.close()
    return {"sizes": asdict(sizes), "slowest": slowest(figures), "searches": figures}


def slowest(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The case that takes the database longest, and how the others lie: all that a reader in a hurry needs."""
    times = {name: case["database_ms"] for name, case in figures.items()}
    worst = max(times, key=times.__getitem__)
    return {"case": worst, "database_ms": times[worst], "median_database_ms": round(median(times.values()), 2)}


def _sizes(arguments: Sequence[str] | None = None) -> Sizes:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    parser.add_argument("--people", type=int)
    asked = vars(parser.parse_args(arguments))
    base = QUICK if asked.pop("quick") else Sizes()
    return Sizes(**asdict(base) | {name: value for name, value in asked.items() if value is not None})


if __name__ == "__main__":
    print_report(measure(_sizes()))
