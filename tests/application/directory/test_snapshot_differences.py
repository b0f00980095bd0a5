"""What an import has written a comparison finds again, whatever the snapshot; and of a change just that change."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.application.directory import snapshot_differences, snapshots
from service.cli.snapshot_files import snapshot_of
from service.cli.snapshots import Reading, whole_kinds
from sql.connection import Connection
from sql.snapshots import present_moment
from tests.support.databases import empty
from tests.support.snapshots import save

ROOT = 1
_NAMES = st.sampled_from(["Ana", "Bob", 'B "q", x', "Zoë", "two\nlines"])
_LIVE = st.sampled_from(["active", "active", "active", "deleted"])
_COURSES = st.sampled_from(["active", "completed", "deleted"])
_DATES = st.sampled_from(["", "2020-01-01", "2999-01-01T10:00:00+02:00"])
Rows = list[list[str]]
Table = dict[str, Rows]  # by the file's name; the first row is the header


def _some(prefix: str, least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.integers(least, 4).map(lambda n: [f"{prefix}{i}" for i in range(n)])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A snapshot in which every reference leads to a row."""

    def rows(header: str, keys: list[list[str]], *cells: st.SearchStrategy[str]) -> Rows:
        return [header.split(","), *([*key, *(draw(cell) for cell in cells)] for key in keys)]

    def pick(of: list[str], blank: bool = False) -> st.SearchStrategy[str]:
        return st.sampled_from([*of, ""] if blank else of)

    accounts, terms, courses, sections, users = (draw(_some(prefix)) for prefix in ("A", "T", "C", "S", "U"))
    groups = draw(_some("G"))
    pairs = st.lists(st.tuples(pick(users), pick(users)).filter(lambda p: p[0] != p[1]), unique=True, max_size=3)
    places = st.tuples(pick(sections), pick(users), st.sampled_from(["student", "teacher", "ta"]))
    return {
        "accounts.csv": rows(
            "account_id,parent_account_id,name,status", [[each, ""] for each in accounts], _NAMES, _LIVE
        ),
        "terms.csv": rows(
            "term_id,name,status,start_date,end_date", [[each, "term"] for each in terms], _LIVE, _DATES, _DATES
        ),
        "courses.csv": rows(
            "course_id,short_name,account_id,term_id,status,start_date",
            [[each] for each in courses],
            *(_NAMES, pick(accounts, True), pick(terms, True), _COURSES, _DATES),
        ),
        "sections.csv": rows(
            "section_id,course_id,name,status,end_date",
            [[each] for each in sections],
            *(pick(courses), _NAMES, _LIVE, _DATES),
        ),
        "users.csv": rows(
            "user_id,login_id,full_name,pronouns,status",
            [[each, each.lower()] for each in users],
            *(_NAMES, st.sampled_from(["", "they/them"]), _LIVE),
        ),
        "enrollments.csv": rows(
            "section_id,user_id,role,status,start_date",
            [list(each) for each in draw(st.lists(places, unique=True, max_size=6))],
            *(st.sampled_from(["active", "completed", "inactive", "deleted"]), _DATES),
        ),
        "groups.csv": rows(
            "group_id,course_id,name,status",
            [[each] for each in groups],
            pick(courses, True),
            _NAMES,
            st.sampled_from(["available", "deleted"]),
        ),
        "group_membership.csv": rows(
            "group_id,user_id,status",
            [list(each) for each in draw(st.lists(st.tuples(pick(groups), pick(users)), unique=True, max_size=3))],
            st.sampled_from(["accepted", "deleted"]),
        ),
        "user_observers.csv": rows("observer_id,student_id,status", [list(each) for each in draw(pairs)], _LIVE),
    }


# What is changed in a row of each file, by the place of the cell; of files without a name there is nothing but to leave
# out a row.
_NAMED = {"accounts.csv": 2, "courses.csv": 1, "sections.csv": 2, "users.csv": 2, "groups.csv": 2}
_KINDS = {
    "accounts.csv": "accounts",
    "terms.csv": "terms",
    "courses.csv": "courses",
    "sections.csv": "sections",
    "users.csv": "users",
    "enrollments.csv": "enrollments",
    "groups.csv": "groups",
    "group_membership.csv": "group_memberships",
    "user_observers.csv": "observers",
}


@dataclass(frozen=True)
class Edit:
    """One change of a snapshot, and the difference that it makes; None: none, because it changes a deleted row."""

    tables: Table
    difference: tuple[str, str] | None


@st.composite
def edits(draw: st.DrawFn, made: Table) -> Edit:
    name = draw(st.sampled_from([name for name, rows in made.items() if len(rows) > 1]))
    header, *body = made[name]
    place = draw(st.integers(0, len(body) - 1))
    row = body[place]
    ways = ["leave out", *(["rename", "add"] if name in _NAMED else [])]
    way = draw(st.sampled_from(ways))
    gone = "deleted" in row and name != "terms.csv"
    kind = _KINDS[name]
    if way == "leave out":
        rows = body[:place] + body[place + 1 :]
        difference = None if gone else (kind, "beyond")
    elif way == "rename":
        changed = [*row]
        changed[_NAMED[name]] = "Another name"
        rows = [*body[:place], changed, *body[place + 1 :]]
        difference = None if gone else (kind, "other")
    else:
        added = ["new", *row[1:]]
        rows = [*body, added]
        difference = None if gone else (kind, "lacking")
    return Edit(made | {name: [header, *rows]}, difference)


def _read(folder: Path, made: Table) -> Reading:
    save(folder, {name: "".join(_line(row) for row in rows) for name, rows in made.items()})
    return Reading(snapshot_of([str(folder)], ExitStack()))


def _line(row: list[str]) -> str:
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n"


async def _load(conn: Connection, reading: Reading) -> None:
    as_of = await present_moment(conn)
    for each in reading.sets():
        followed = await snapshots.follow(conn, each.records, as_of, ROOT)
        assert followed.refused == {}
    assert reading.bad.count == 0


async def _found(conn: Connection, reading: Reading) -> list[tuple[str, str, int]]:
    now = await present_moment(conn)
    async with snapshot_differences.one_moment(conn):
        for each in reading.sets():
            await snapshot_differences.collect(conn, each.records, now, ROOT)
        found = await snapshot_differences.found(conn, whole_kinds(reading.snapshot), 100)
    return [(kind, each.difference, each.total) for kind, differences in found.items() for each in differences]


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_after_an_import_nothing_differs_and_after_a_change_just_that(
    conn: asyncpg.Connection, tmp_path: Path, data: st.DataObject
) -> None:
    await empty(conn)
    made = data.draw(tables())
    await _load(conn, _read(tmp_path / "sis", made))
    assert await _found(conn, _read(tmp_path / "sis", made)) == []

    edit = data.draw(edits(made))
    expected = [] if edit.difference is None else [(*edit.difference, 1)]
    assert await _found(conn, _read(tmp_path / "sis", edit.tables)) == expected
    await _load(conn, _read(tmp_path / "sis", edit.tables))
    after = await _found(conn, _read(tmp_path / "sis", edit.tables))
    assert after == [each for each in expected if each[1] == "beyond"]  # an import removes nothing by silence
