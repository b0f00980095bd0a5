"""What is derived from users, enrolments and memberships says what they say, whatever way they came."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.application.directory.events import apply
from service.contracts.directory import DirectoryEvent
from sql.connection import Connection
from tests.support.chance import as_often
from tests.support.directory_histories import disordered, event, in_sets
from tests.support.institution import Institution

_ID = st.integers(1, 3)
_GONE = ("deleted", "rejected")


@st.composite
def _happened(draw: st.DrawFn, second: int) -> DirectoryEvent:
    match draw(st.sampled_from(["user", "user", "enrollment", "enrollment", "state", "membership"])):
        case "user":
            user = draw(_ID)
            state = draw(st.sampled_from(["registered", "registered", "creation_pending", "deleted"]))
            body: dict[str, Any] = {"user_id": user, "name": draw(st.sampled_from(["Bo Low", "Al High"]))}
            if state == "deleted" and draw(st.booleans()):
                body["merged_into_user_id"] = user % 3 + 1
            return event("user_updated", second, **body, workflow_state=state)
        case "enrollment":
            return event(
                "enrollment_updated",
                second,
                enrollment_id=draw(st.integers(1, 5)),
                course_id=draw(st.integers(1, 2)),
                course_section_id=draw(st.sampled_from([11, 12, None])),
                user_id=draw(_ID),
                type=draw(st.sampled_from(["StudentEnrollment", "TaEnrollment", "StudentViewEnrollment"])),
                workflow_state=draw(st.sampled_from(["active", "invited", "completed", "deleted"])),
            )
        case "state":
            state = draw(st.sampled_from(["active", "completed"]))
            return event("enrollment_state_updated", second, enrollment_id=draw(st.integers(1, 5)), state=state)
        case _:
            return event(
                "group_membership_updated",
                second,
                group_membership_id=draw(_ID),
                group_id=draw(_ID),
                user_id=draw(_ID),
                workflow_state=draw(st.sampled_from(["accepted", "deleted"])),
            )


@st.composite
def histories(draw: st.DrawFn) -> list[DirectoryEvent]:
    """Names, enrolments and memberships of three people, who come and go."""
    return [draw(_happened(second)) for second in range(draw(st.integers(1, 14)))]


async def recounted(conn: Connection) -> tuple[set[tuple[str, int, int, str | None]], Counter[tuple[Any, ...]]]:
    """(place, its id, user, name) of everybody, and people by course and ways, found the long way."""
    names = {row["id"]: row["sort_name"] for row in await conn.fetch("SELECT id, sort_name FROM addressees")}
    rosters: set[tuple[str, int, int, str | None]] = set()
    ways: dict[tuple[int, int], set[tuple[Any, ...]]] = {}
    for row in await conn.fetch("SELECT * FROM enrollments WHERE course_id IS NOT NULL AND user_id IS NOT NULL"):
        if row["workflow_state"] in _GONE or row["type"] == "StudentViewEnrollment":
            continue
        user, course = row["user_id"], row["course_id"]
        rosters.add(("c", course, user, names.get(user)))
        if row["section_id"] is not None:
            rosters.add(("s", row["section_id"], user, names.get(user)))
        way = (row["section_id"], row["type"], row["workflow_state"], row["date_state"])
        ways.setdefault((course, user), set()).add(way)
    for row in await conn.fetch("SELECT * FROM group_memberships WHERE workflow_state = 'accepted'"):
        rosters.add(("g", row["group_id"], row["user_id"], names.get(row["user_id"])))
    return rosters, Counter((course, frozenset(way)) for (course, user), way in ways.items() if user in names)


async def kept(conn: Connection) -> tuple[set[tuple[str, int, int, str | None]], Counter[tuple[Any, ...]]]:
    """The same as the tables have it."""
    rosters = await conn.fetch("SELECT place::text, place_id, user_id, sort_name FROM rosters")
    headcounts = await conn.fetch(
        "SELECT course_id, people, array(SELECT ARRAY[e ->> 0, e ->> 1, e ->> 2, e ->> 3]"
        " FROM jsonb_array_elements(ways) AS e) AS ways FROM headcounts"
    )
    people: Counter[tuple[Any, ...]] = Counter()
    for course, count, ways in headcounts:
        way = frozenset((section and int(section), *rest) for section, *rest in ways)
        people[course, way] += count
    return {tuple(row) for row in rosters}, people


@given(history=histories(), random=st.randoms(use_true_random=False))
@settings(max_examples=as_often(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_rosters_and_headcounts_are_what_a_recount_finds(
    conn: asyncpg.Connection, history: list[DirectoryEvent], random: Any
) -> None:
    transaction = conn.transaction()
    await transaction.start()
    try:
        for events in in_sets(disordered(history, random), random):
            await apply(conn, events)
            assert await kept(conn) == await recounted(conn)
    finally:
        await transaction.rollback()


_RENAME = "UPDATE users SET name = 'New Name', sortable_name = NULL WHERE id = 1"
_ARRIVE = "INSERT INTO users (id, name, workflow_state, as_of) VALUES (2, 'New Name', 'registered', now())"
_ENROLL = (
    "INSERT INTO enrollments (id, course_id, section_id, user_id, type, workflow_state, as_of)"
    " VALUES (7, 5, 6, {}, 'StudentEnrollment', 'active', now())"
)
_JOIN = (
    "INSERT INTO group_memberships (id, group_id, user_id, workflow_state, as_of) VALUES (8, 9, {}, 'accepted', now())"
)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("place", [_ENROLL, _JOIN], ids=["enrolled", "joined"])
@pytest.mark.parametrize(("change", "user"), [(_RENAME, 1), (_ARRIVE, 2)], ids=["renamed", "arriving"])
async def test_two_transactions_that_do_not_see_each_other_leave_nothing_out(
    pool: asyncpg.Pool, first: int, place: str, change: str, user: int
) -> None:
    statements: Sequence[str] = [change, place.format(user)]
    async with pool.acquire() as one, pool.acquire() as two:
        await one.execute(
            "INSERT INTO users (id, name, workflow_state, as_of) VALUES (1, 'Old Name', 'registered', now())"
        )
        transaction = one.transaction()
        await transaction.start()
        await one.execute(statements[first])
        later = asyncio.create_task(two.execute(statements[1 - first]))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)"
        while not await one.fetchval(waits, two.get_server_pid()):
            assert not later.done()
        await transaction.commit()
        await later

        assert await kept(one) == await recounted(one)
        assert (await kept(one))[0]


async def test_people_enrolled_in_very_many_ways_are_counted(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course = await institution.course()
    user = await institution.user()
    for _ in range(120):
        await institution.enroll(course, user, section=await institution.section(course))

    assert await kept(conn) == await recounted(conn)
    assert (await kept(conn))[1].total() == 1


async def test_the_last_one_to_leave_leaves_no_place_and_no_count_behind(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course = await institution.course()
    await institution.enroll(course, await institution.user(), section=await institution.section(course))

    await conn.execute("UPDATE enrollments SET workflow_state = 'deleted'")

    assert await conn.fetch("SELECT * FROM rosters") == []
    assert await conn.fetch("SELECT * FROM headcounts") == []
