"""Which state of an enrolment counts: its own end, the last enrollment_state, the section's dates, the course's."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

PAST, FUTURE = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
# An enrolment without anything special, as the arguments of the function.
PLAIN: dict[str, Any] = {
    "workflow_state": "active",
    "date_state": None,
    "course_state": "available",
    "course_closes": False,
    "course_start": None,
    "course_end": None,
    "section_closes": None,
    "section_start": None,
    "section_end": None,
}
COURSE_OVER = {"course_closes": True, "course_end": PAST}
COURSE_AHEAD = {"course_closes": True, "course_start": FUTURE}
SECTION_OVER = {"section_closes": True, "section_end": PAST}
SECTION_AHEAD = {"section_closes": True, "section_start": FUTURE}


@pytest.mark.parametrize(
    ("enrollment", "standing"),
    [
        ({}, "active"),
        ({"workflow_state": "invited"}, "invited"),
        ({"workflow_state": "creation_pending"}, "pending"),
        ({"workflow_state": "inactive", "date_state": "active"}, "inactive"),
        ({"workflow_state": "completed", "date_state": "active"}, "completed"),
        ({"workflow_state": "rejected", "date_state": "active"}, "none"),
        ({"workflow_state": "deleted", "course_state": "completed"}, "none"),
        ({"workflow_state": "completed", "course_state": "deleted"}, "none"),
        ({"workflow_state": "inactive", "course_state": "completed"}, "completed"),
        ({"date_state": "active", "course_state": "completed"}, "completed"),
        ({"date_state": "rejected"}, "none"),
        ({"date_state": "deleted"}, "none"),
        ({"date_state": "pending_active"}, "pending"),
        ({"date_state": "pending_invited"}, "pending"),
        ({"date_state": "creation_pending"}, "pending"),
        ({"date_state": "inactive"}, "inactive"),
        ({"date_state": "completed", "section_closes": True, "section_end": FUTURE}, "completed"),
        ({"date_state": "active"} | SECTION_OVER | COURSE_OVER, "active"),
        (SECTION_OVER, "completed"),
        (SECTION_OVER | {"section_closes": False}, "active"),
        (SECTION_OVER | {"section_start": FUTURE}, "completed"),
        (SECTION_AHEAD, "pending"),
        (SECTION_AHEAD | {"section_closes": False}, "active"),
        (SECTION_AHEAD | COURSE_OVER, "pending"),
        ({"section_closes": True, "section_start": PAST} | COURSE_OVER, "active"),
        ({"section_closes": True, "section_end": FUTURE} | COURSE_OVER, "active"),
        ({"section_closes": True, "section_end": FUTURE} | COURSE_AHEAD, "active"),
        ({"section_closes": True, "section_end": FUTURE, "workflow_state": "creation_pending"}, "pending"),
        ({"section_closes": True, "section_end": FUTURE, "workflow_state": "invited"}, "invited"),
        ({"section_closes": True} | COURSE_OVER, "completed"),
        ({"section_closes": True} | COURSE_AHEAD, "pending"),
        (COURSE_OVER | {"course_closes": False}, "active"),
        (COURSE_AHEAD | {"course_closes": False}, "active"),
        (COURSE_OVER | {"course_start": FUTURE}, "completed"),
    ],
)
async def test_the_state_that_counts(conn: asyncpg.Connection, enrollment: dict[str, Any], standing: str) -> None:
    found = await conn.fetchval(
        "SELECT standing_of($1, $2, $3, $4, $5, $6, $7, $8, $9)", *(PLAIN | enrollment).values()
    )
    assert found == standing


async def test_a_section_is_over_at_the_moment_it_ends_and_has_begun_when_it_begins(conn: asyncpg.Connection) -> None:
    asked = "SELECT standing_of('active', NULL, 'available', false, NULL, NULL, true, {}, {})"

    assert await conn.fetchval(asked.format("NULL", "now()")) == "completed"
    assert await conn.fetchval(asked.format("now()", "NULL")) == "active"
