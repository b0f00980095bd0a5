"""Directory events end up in the tables, whatever way they come (CONTRACT 5)."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.application.directory.events import apply
from service.contracts.directory import DirectoryEvent
from sql.connection import Connection
from tests.support.directory_feed import START
from tests.support.directory_histories import directory_after, disordered, event, histories, in_sets


async def only_row(conn: Connection, table: str) -> dict[str, Any]:
    (row,) = await conn.fetch(f"SELECT * FROM {table}")
    return {key: value for key, value in row.items() if key not in ("as_of", "stamps", "date_state_as_of")}


USER = {
    "user_id": 1,
    "uuid": "u-1",
    "name": "Ana Example",
    "short_name": "Ana",
    "workflow_state": "registered",
    "created_at": START,
    "user_login": "ana",
    "user_sis_id": "S1",
    "sortable_name": "Example, Ana",
    "pronouns": "she/her",
    "avatar_url": "https://school.example/a.png",
}
ENROLLMENT = {
    "enrollment_id": 1,
    "course_id": 2,
    "course_section_id": 3,
    "user_id": 4,
    "type": "ObserverEnrollment",
    "associated_user_id": 5,
    "limit_privileges_to_course_section": True,
    "workflow_state": "active",
}


@pytest.mark.parametrize(
    ("name", "body", "row"),
    [
        (
            "account_created",
            {
                "account_id": 1,
                "name": "Root",
                "root_account_id": 2,
                "root_account_uuid": "a-2",
                "parent_account_id": 3,
                "workflow_state": "active",
                "site_admin": True,
            },
            {"id": 1, "name": "Root", "root_account_id": 2, "parent_account_id": 3, "site_admin": True},
        ),
        ("user_created", USER, {"id": 1, "login": "ana", "sis_id": "S1", "merged_into_user_id": None}),
        ("user_account_association_created", {"user_id": 1, "account_id": 2}, {"user_id": 1, "account_id": 2}),
        (
            "account_user_created",
            {"account_user_id": 1, "account_id": 2, "user_id": 3, "role": "AccountAdmin", "workflow_state": "active"},
            {"id": 1},
        ),
        (
            "role_override_created",
            {
                "role_override_id": 1,
                "context_type": "Account",
                "context_id": 2,
                "role": "Advisor",
                "permission": "read_roster",
                "enabled": True,
                "workflow_state": "active",
            },
            {"id": 1},
        ),
        (
            "course_created",
            {
                "course_id": 1,
                "uuid": "c-1",
                "account_id": 2,
                "name": "Biology",
                "workflow_state": "completed",
                "start_at": START,
                "conclude_at": START + timedelta(days=1),
                "restrict_enrollments_to_course_dates": True,
            },
            {"id": 1},
        ),
        (
            "course_section_created",
            {
                "course_section_id": 1,
                "course_id": 2,
                "name": "Morning",
                "default_section": True,
                "start_at": START,
                "end_at": START + timedelta(days=1),
                "restrict_enrollments_to_section_dates": True,
                "workflow_state": "active",
                "sis_source_id": "S2",
            },
            {"id": 1},
        ),
        ("enrollment_created", ENROLLMENT, {"id": 1, "section_id": 3, "date_state": None}),
        (
            "group_category_created",
            {"group_category_id": 1, "group_category_name": "Labs", "context_type": "Course", "context_id": 2},
            {"id": 1, "name": "Labs"},
        ),
        (
            "group_created",
            {
                "group_id": 1,
                "uuid": "g-1",
                "group_name": "Lab 1",
                "group_category_id": 2,
                "context_type": "Course",
                "context_id": 3,
                "account_id": 4,
                "non_collaborative": True,
                "workflow_state": "available",
            },
            {"id": 1, "name": "Lab 1"},
        ),
        (
            "group_membership_created",
            {"group_membership_id": 1, "group_id": 2, "user_id": 3, "workflow_state": "invited"},
            {"id": 1},
        ),
        (
            "attachment_created",
            {
                "attachment_id": 1,
                "user_id": 2,
                "context_type": "User",
                "context_id": 3,
                "folder_id": 4,
                "folder_name": "conversation attachments",
                "uuid": "a-1",
                "display_name": "Plan",
                "filename": "plan.pdf",
                "content_type": "application/pdf",
                "size": 5,
                "url": "https://school.example/plan.pdf",
                "thumbnail_url": "https://school.example/plan.png",
                "lock_at": START + timedelta(days=2),
                "unlock_at": START + timedelta(days=1),
                "updated_at": START + timedelta(hours=1),
            },
            {"id": 1, "workflow_state": "available", "created_at": START},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_key_lands_in_its_column(
    conn: asyncpg.Connection, name: str, body: dict[str, Any], row: dict[str, Any]
) -> None:
    written = await apply(conn, [event(name, **body)])
    (table,) = written.keys() & {kind for kind in written if written[kind]}
    found = await only_row(conn, table)
    assert {key: found[key] for key in row} == row
    columns_named_like_their_keys = found.keys() & body.keys()
    assert {key: found[key] for key in columns_named_like_their_keys} == {
        key: body[key] for key in columns_named_like_their_keys
    }


async def test_an_older_event_does_not_overwrite_a_newer_one(conn: asyncpg.Connection) -> None:
    await apply(conn, [event("course_updated", 20, course_id=1, name="New")])
    await apply(conn, [event("course_updated", 10, course_id=1, name="Old", account_id=7)])
    row = await only_row(conn, "courses")
    assert (row["name"], row["account_id"]) == ("New", 7)


async def test_an_event_that_leaves_a_key_out_changes_nothing_in_it_and_null_clears_it(
    conn: asyncpg.Connection,
) -> None:
    await apply(conn, [event("user_created", **USER)])
    await apply(conn, [event("user_updated", 1, user_id=1, name="Ana Other")])
    assert (await only_row(conn, "users"))["pronouns"] == "she/her"
    await apply(conn, [event("user_updated", 2, user_id=1, pronouns=None)])
    row = await only_row(conn, "users")
    assert (row["pronouns"], row["name"], row["login"]) == (None, "Ana Other", "ana")


async def test_what_a_compacting_producer_dropped_was_null(conn: asyncpg.Connection) -> None:
    await apply(conn, [event("enrollment_created", **ENROLLMENT)])
    without = {key: value for key, value in ENROLLMENT.items() if key != "associated_user_id"}
    await apply(conn, [event("enrollment_updated", 1, **without)])
    assert (await only_row(conn, "enrollments"))["associated_user_id"] is None


async def test_the_same_events_again_write_nothing(conn: asyncpg.Connection) -> None:
    events = [event("user_created", **USER), event("enrollment_created", **ENROLLMENT)]
    events.append(event("enrollment_state_created", enrollment_id=1, state="active"))
    assert (await apply(conn, events)).total() == 2
    assert (await apply(conn, events + events)).total() == 0


async def test_a_state_may_come_before_its_enrolment_and_counts_only_with_it(conn: asyncpg.Connection) -> None:
    await apply(conn, [event("course_created", course_id=2, workflow_state="available")])
    await apply(conn, [event("enrollment_state_created", enrollment_id=1, state="completed")])
    assert await conn.fetch("SELECT standing FROM enrollment_standings") == []
    await apply(conn, [event("enrollment_created", **ENROLLMENT)])
    assert await conn.fetchval("SELECT standing FROM enrollment_standings") == "completed"


async def test_a_member_may_come_before_its_course(conn: asyncpg.Connection) -> None:
    await apply(conn, [event("enrollment_created", **ENROLLMENT)])
    await apply(conn, [event("course_created", course_id=2, workflow_state="available")])
    assert await conn.fetchval("SELECT standing FROM enrollment_standings") == "active"


async def test_a_merged_user_is_gone_and_stays_so_when_older_news_arrive(conn: asyncpg.Connection) -> None:
    await apply(conn, [event("user_merged", 10, user_id=1, merged_into_user_id=2)])
    await apply(conn, [event("user_updated", 5, **USER)])
    row = await only_row(conn, "users")
    assert (row["workflow_state"], row["merged_into_user_id"], row["name"]) == ("deleted", 2, "Ana Example")


async def test_a_deleted_file_stays_deleted_when_its_creation_arrives_late(conn: asyncpg.Connection) -> None:
    await apply(conn, [event("attachment_deleted", 10, attachment_id=1)])
    await apply(conn, [event("attachment_created", attachment_id=1, size=5)])
    row = await only_row(conn, "attachments")
    assert (row["workflow_state"], row["size"], row["created_at"]) == ("deleted", 5, START)


@given(history=histories(), random=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_order_repetition_and_grouping_ends_in_the_same_directory(
    conn: asyncpg.Connection, history: list[DirectoryEvent], random: Any
) -> None:
    in_order = await directory_after(conn, [[event] for event in history])
    assert await directory_after(conn, in_sets(disordered(history, random), random)) == in_order


async def test_loaders_that_meet_wait_for_each_other(pool: asyncpg.Pool) -> None:
    history = [event("user_updated", second, **USER | {"user_id": 1 + second % 50}) for second in range(200)]
    for second in range(200):
        body = ENROLLMENT | {"enrollment_id": 1 + second % 50}
        history.append(event("enrollment_updated", second, **body))
        history.append(event("enrollment_state_updated", second, enrollment_id=50 - second % 50, state="active"))

    async def load(events: Sequence[DirectoryEvent]) -> None:
        async with pool.acquire() as conn:
            for start in range(0, len(events), 60):
                await apply(conn, events[start : start + 60])

    await asyncio.gather(load(history), load(history[::-1]), load(history[::2] + history[1::2]))
    async with pool.acquire() as conn:
        assert await conn.fetchval("SELECT count(*) FROM users") == 50
        assert await conn.fetchval("SELECT count(*) FROM enrollments WHERE date_state = 'active'") == 50
