"""The two ways to ask who is in a range of enrolments must agree, and cost no call a row."""

from datetime import UTC, datetime, timedelta
from itertools import product

import asyncpg
import pytest

from service.domain.visibility import Range
from sql.address_book import all_instruct, expand_ranges, reachable, reachable_by_roster
from sql.arrays import array_text
from sql.statements import STATEMENTS
from tests.support.institution import ROOT_ACCOUNT, Institution

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)
DATES = [
    (restrict, start, end)
    for restrict in (True, False)
    for start in (None, YESTERDAY, TOMORROW)
    for end in (None, YESTERDAY, TOMORROW)
]
STATES = ("active", "invited", "creation_pending", "inactive", "completed", "rejected", "deleted")
DATE_STATES = (
    *(None, "pending_invited", "pending_active", "creation_pending", "invited", "active", "inactive"),
    *("completed", "rejected", "deleted"),
)
CASES = list(product(STATES, DATE_STATES))
NO_SENDER = 0


async def enrol_every_case(
    conn: asyncpg.Connection, institution: Institution, course: int, section: int | None
) -> list[int]:
    """One user per combination of an enrolment's own states."""
    users = await institution.users(len(CASES))
    made = await institution.enroll(course, users, section=section)
    await conn.execute(
        "UPDATE enrollments e SET workflow_state = c.state, date_state = c.date_state"
        " FROM unnest($1::bigint[], $2::text[], $3::text[]) AS c (id, state, date_state) WHERE e.id = c.id",
        made,
        [state for state, _ in CASES],
        [date_state for _, date_state in CASES],
    )
    return users


async def test_expansion_counts_what_the_view_of_standings_counts(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course = await institution.course()
    sections = [None, 999_999] + [
        await institution.section(course, start_at=opens, end_at=closes, restrict_dates=limited)
        for limited, opens, closes in DATES
    ]
    people = [user for section in sections for user in await enrol_every_case(conn, institution, course, section)]
    cases = [*(("available", *dates) for dates in DATES), ("claimed", *DATES[4]), ("completed", *DATES[0])]

    for case in cases:
        await conn.execute(
            "UPDATE courses SET workflow_state = $2, restrict_enrollments_to_course_dates = $3, start_at = $4,"
            " conclude_at = $5 WHERE id = $1",
            course,
            *case,
        )
        for section in sections:
            asked = [Range(course, section, concluded=case[0] == "completed")]

            expanded = await expand_ranges(conn, asked, NO_SENDER)

            assert expanded == await reachable(conn, people, NO_SENDER, ranges=asked), (case, section)
            assert set(expanded) <= set(people)
            assert len(expanded) < len(people)


async def test_ranges_meet_all_their_conditions(conn: asyncpg.Connection, institution: Institution) -> None:
    course, other = await institution.course(), await institution.course()
    section = await institution.section(course)
    people = sender, student, ta, watcher, outsider = await institution.users(5)
    await institution.enroll(course, [sender, student], section=section)
    await institution.enroll(course, ta, "Ta")
    await institution.enroll(course, watcher, "Observer", observing=sender)
    await institution.enroll(course, outsider, "Observer", observing=student)
    await institution.enroll(other, [student, outsider])
    cases = [
        (Range(course), [student, ta, watcher, outsider]),
        (Range(course, section), [student]),
        (Range(course, user_id=ta), [ta]),
        (Range(course, section, user_id=ta), []),
        (Range(course, section, user_id=student), [student]),
        (Range(course, types=frozenset({"TaEnrollment"})), [ta]),
        (Range(course, types=frozenset()), []),
        (Range(course, all_observers=False), [student, ta, watcher]),
        (Range(other, section), []),
    ]

    for asked, expected in cases:
        assert await expand_ranges(conn, [asked], sender) == expected
        found = await reachable(conn, people, sender, ranges=[asked])
        assert [user for user in found if user != sender] == expected
    several = [asked for asked, _ in cases]
    assert await expand_ranges(conn, several, sender) == [student, ta, watcher, outsider]


async def test_the_ids_of_very_many_stay_with_the_server_until_the_transaction_ends(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course = await institution.course()
    sender, *people = await institution.users(4)
    await institution.enroll(course, people)

    listed = await expand_ranges(conn, [Range(course)], sender, hold_above=3)
    async with conn.transaction():
        held = await expand_ranges(conn, [Range(course)], sender, hold_above=2)
        kept = await conn.fetchval("SELECT current_setting('clarion.recipients')::bigint[]")
        all_exempt = await all_instruct(conn, course, held, people)
        others = await all_instruct(conn, course, held, people[1:])

    assert listed == kept == people
    assert (len(held), array_text(held)) == (3, None)
    assert (all_exempt, others) == (True, False)
    with pytest.raises(LookupError):
        held[0]
    assert await conn.fetchval("SELECT current_setting('clarion.recipients')") == ""


async def test_an_enrolment_that_counts_puts_its_user_on_the_roster_of_the_account(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course = await institution.course()
    student, former, gone, fake = await institution.users(4)
    await institution.enroll(course, student)
    await institution.enroll(course, former, state="completed")
    await institution.enroll(course, gone, state="deleted")
    await institution.enroll(course, fake, "StudentView")

    found = await reachable_by_roster(conn, [student, former, gone, fake], [ROOT_ACCOUNT])

    assert found == [student, former]


async def test_the_rule_of_ranges_is_part_of_the_plan_and_not_called_for_each_row(conn: asyncpg.Connection) -> None:
    """The planner calls a function whose costly argument stands in it twice."""
    statement = STATEMENTS["reachable"]
    given = {"ranges": "[]", "groups": "[]", "account_ids": [], "sender_id": NO_SENDER, "user_ids": [1]}
    one_by_one = await conn.prepare(statement.text)
    sightings = await conn.prepare("SELECT FROM sightings(1, 2, '[]', '[]', '{}')")

    plans = [
        str(await one_by_one.explain(*(given[name] for name in statement.parameters))),
        str(await sightings.explain()),
    ]

    assert all("StudentViewEnrollment" in plan and "in_range" not in plan for plan in plans)
