"""What the statements leave in the tables: of each key the newest value, as a plain model has it (CONTRACT 5)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.application.directory.events import apply
from service.contracts.directory import DirectoryEvent
from service.domain.directory import Change, change_of
from service.domain.directory_shapes import SHAPES, Kind
from sql import directory
from sql.connection import Connection
from tests.support.chance import as_often
from tests.support.directory_feed import START
from tests.support.directory_histories import disordered, event, histories, in_sets

# Where a column is called otherwise than the key in the events.
COLUMNS = {
    "user_login": "login",
    "user_sis_id": "sis_id",
    "course_section_id": "section_id",
    "group_name": "name",
    "group_category_name": "name",
    "state": "date_state",
}
FLAGS = (
    *("site_admin", "enabled", "default_section", "non_collaborative", "limit_privileges_to_course_section"),
    *("restrict_enrollments_to_course_dates", "restrict_enrollments_to_section_dates"),
)
STATES = {Kind.USER: "registered", Kind.GROUP_MEMBERSHIP: "accepted"} | dict.fromkeys(
    (Kind.COURSE, Kind.GROUP, Kind.ATTACHMENT), "available"
)
# What stands in for null where the column takes none.
EMPTY = {
    Kind.ACCOUNT: ("name",),
    Kind.USER: ("name",),
    Kind.ACCOUNT_USER: ("role",),
    Kind.ROLE_OVERRIDE: ("context_type", "role", "permission"),
    Kind.COURSE: ("name",),
    Kind.SECTION: ("name",),
    Kind.GROUP_CATEGORY: ("group_category_name",),
    Kind.GROUP: ("group_name",),
}

Row = tuple[Kind, tuple[int, ...]]
# For each key when it came and its value; None and the default where no event had it.
Keys = dict[str, tuple[datetime | None, Any]]


def default(kind: Kind, key: str) -> Any:
    if key == "workflow_state":
        return STATES.get(kind, "active")
    return False if key in FLAGS else "" if key in EMPTY.get(kind, ()) else None


def modelled(arrivals: Iterable[Change]) -> dict[Row, Keys]:
    """Changes written one by one: a key takes each value that is as new as the one it has, or newer."""
    found: dict[Row, Keys] = {}
    for change in arrivals:
        kind, keys = change.kind, SHAPES[change.kind].keys
        row = found.setdefault((kind, change.row), {key: (None, default(kind, key)) for key in keys})
        for n, (key, value) in enumerate(zip(keys, change.values, strict=True)):
            time, _ = row[key]
            if (change.present_keys is None or change.present_keys >> n & 1) and (time is None or change.as_of >= time):
                row[key] = (change.as_of, default(kind, key) if value is None else value)
    return found


def _keys(kind: Kind, row: asyncpg.Record) -> Keys:
    if kind is Kind.ENROLLMENT_STATE:
        return {"state": (row["date_state_as_of"], row["date_state"])}
    keys = SHAPES[kind].keys
    times = row["stamps"] or [row["as_of"]] * len(keys) if keys else []
    return {
        key: (time if time.year > 1 else None, row[COLUMNS.get(key, key)])
        for key, time in zip(keys, times, strict=True)
    }


async def written(conn: Connection, rows: Iterable[Row]) -> dict[Row, Keys]:
    """What the tables hold of these rows; an enrolment and its state are one row there."""
    found: dict[Row, Keys] = {}
    for kind, identity in rows:
        table = Kind.ENROLLMENT if kind is Kind.ENROLLMENT_STATE else kind
        names = ("account_id", "user_id") if kind is Kind.USER_ACCOUNT else ("id",)
        where = " AND ".join(f"{name} = ${n}" for n, name in enumerate(names, 1))
        (row,) = await conn.fetch(f"SELECT * FROM {table} WHERE {where}", *identity)
        found[kind, identity] = _keys(kind, row)
    return found


async def written_after(
    conn: Connection, sets: Iterable[Sequence[DirectoryEvent]], rows: Iterable[Row]
) -> dict[Row, Keys]:
    """What an empty directory holds after the sets were written, which is then undone."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        for events in sets:
            await apply(conn, events)
        return await written(conn, rows)
    finally:
        await transaction.rollback()


@given(history=histories(), at_once=st.integers(1, 4), random=st.randoms(use_true_random=False))
@settings(max_examples=as_often(80), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_of_each_key_the_newest_value_is_kept_and_of_equally_new_ones_the_later_arrival(
    conn: asyncpg.Connection, history: list[DirectoryEvent], at_once: int, random: Any
) -> None:
    """Events in any order and repeated, several of them of one moment."""
    times = [START + timedelta(seconds=n // at_once) for n in range(len(history))]
    arrivals = disordered([replace(happened, time=time) for happened, time in zip(history, times, strict=True)], random)
    expected = modelled(change_of(arrived) for arrived in arrivals)
    assert await written_after(conn, in_sets(arrivals, random), expected) == expected


async def test_of_two_states_of_one_moment_the_later_arrival_is_kept(conn: asyncpg.Connection) -> None:
    for state in ("active", "completed"):
        await apply(conn, [event("enrollment_state_updated", enrollment_id=1, state=state)])
    assert await conn.fetchval("SELECT date_state FROM enrollments") == "completed"


def values_of(kind: Kind, day: int) -> tuple[Any, ...]:
    """For each key a value that differs from day to day; flags turn."""

    def value(key: str) -> Any:
        if key in FLAGS:
            return day % 2 == 0
        if key.endswith("_at"):
            return START + timedelta(days=day)
        number = key == "size" or (key.endswith("_id") and key not in ("user_sis_id", "sis_source_id"))
        return day if number else f"{key} {day}"

    return tuple(value(key) for key in SHAPES[kind].keys)


async def write(conn: Connection, change: Change) -> None:
    """By the statement of its kind."""
    upsert = getattr(directory, f"upsert_{change.kind}")
    await (upsert(conn, [change], []) if change.kind is Kind.ENROLLMENT else upsert(conn, [change]))


@pytest.mark.parametrize("kind", [kind for kind in Kind if len(SHAPES[kind].keys) > 1])
async def test_every_key_has_a_time_of_its_own(conn: asyncpg.Connection, kind: Kind) -> None:
    """Each is newer than the one before it, so that no two can stand for each other; examples rarely tell all apart."""
    arrivals = [Change(kind, (1,), START, None, values_of(kind, 1))]
    await write(conn, arrivals[0])
    # Newer than what is there; then a little older than that, when all keys are as new as they will be; then as new.
    for day, sooner in ((2, 0), (3, 1), (5, 0)):
        for n in reversed(range(len(SHAPES[kind].keys))):
            time = START + timedelta(seconds=10 * (n + 1) - sooner)
            arrivals.append(Change(kind, (1,), time, 1 << n, values_of(kind, day)))
            await write(conn, arrivals[-1])
        expected = modelled(arrivals)
        assert await written(conn, expected) == expected
