"""A send that starts later: all is looked up again when it starts, once (CONTRACT 3.2, 3.6)."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from service.application.address_book.rights import load
from service.application.messages.schedule import StartFailed, start_next
from service.domain.contexts import Context, ContextType
from service.domain.errors import Refusal
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.support.bulk_send_invariants import assert_delivered_once, copies
from tests.support.institution import ROOT_ACCOUNT, Institution
from tests.support.schedules import Schedules, fall_due, states
from tests.support.school import School
from tests.support.waiting import until

DELETED, AWAY, REFUSED = (("skipped", why) for why in ("user_deleted", "no_longer_reachable", "sender_not_allowed"))


@pytest.fixture
def schedules(conn: asyncpg.Connection, settings: Settings, school: School) -> Schedules:
    """Scheduled sends of the school's teacher."""
    return Schedules(conn, settings.model_copy(update={"chunk_size": 100}), school)


async def delete(conn: asyncpg.Connection, *users: int) -> None:
    """As directory events would."""
    await conn.execute("UPDATE users SET workflow_state = 'deleted' WHERE id = ANY ($1::bigint[])", users)


async def leave(conn: asyncpg.Connection, *users: int) -> None:
    """All enrolments end."""
    await conn.execute("UPDATE enrollments SET workflow_state = 'deleted' WHERE user_id = ANY ($1::bigint[])", users)


async def test_until_it_starts_nobody_has_it_and_no_worker_looks_at_it(
    schedules: Schedules, conn: asyncpg.Connection, school: School
) -> None:
    batch = await schedules.to_the_course()

    row = await schedules.batch(batch)
    assert (row["state"], row["total"], row["started_at"]) == ("scheduled", 250, None)
    assert row["send_at"] - row["created_at"] > timedelta(hours=23)
    assert set(await states(conn, batch)) == set(school.students)
    assert set((await states(conn, batch)).values()) == {("pending", None)}
    assert await start_next(conn, schedules.work) is None
    assert await conn.fetchval("SELECT count(*) FROM chunks WHERE due_at < 'infinity'") == 0
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 0
    assert await schedules.events() == [("batch_scheduled", "scheduled")]


async def test_it_goes_to_everybody_as_one_that_was_sent_then(
    schedules: Schedules, conn: asyncpg.Connection, school: School
) -> None:
    """The row of what is said stays the same one, for those who look at the batch meanwhile."""
    later = await schedules.to_the_course(subject="Later")
    send_id = (await schedules.batch(later))["send_id"]
    first_ids = await conn.fetchval("SELECT min(first_id) FROM chunks WHERE batch_id = $1", later)
    before = await conn.fetchval("SELECT now()")

    started = await schedules.start(later)

    assert (started.running, started.refused) == (True, None)
    assert (await schedules.batch(later))["state"] == "created"
    await schedules.deliver(later)
    await assert_delivered_once(conn, later, school.students)
    row = await schedules.batch(later)
    assert row["send_id"] == send_id
    said = await conn.fetchrow("SELECT * FROM sends WHERE id = $1", row["send_id"])
    assert said is not None
    assert (said["subject"], said["created_at"] > before) == ("Later", True)
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1
    assert await conn.fetchval("SELECT min(id) FROM conversations") > first_ids
    assert await conn.fetchval("SELECT count(*) FROM scheduled_sends") == 0
    events = [event for event, _ in await schedules.events()]
    assert [events[0], events[1], events[-1]] == ["batch_scheduled", "batch_started", "batch_finished"]
    assert events.count("batch_started") == events.count("batch_finished") == 1
    assert await start_next(conn, schedules.work) is None


async def test_newcomers_get_it_and_those_who_are_away_are_skipped_with_the_reason(
    schedules: Schedules, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    batch = await schedules.to_the_course()
    deleted, away = school.students[3], school.students[7]
    await delete(conn, deleted)
    await leave(conn, away)
    newcomers = await institution.users(2)
    await institution.enroll(school.course, newcomers)

    await schedules.start(batch)

    row = await schedules.batch(batch)
    assert (row["state"], row["total"], row["skipped"], row["delivered"]) == ("sending", 252, 2, 0)
    await schedules.deliver(batch)
    row = await schedules.batch(batch)
    assert (row["state"], row["total"], row["skipped"], row["delivered"]) == ("sent", 252, 2, 250)
    found = await states(conn, batch)
    assert (found.pop(deleted), found.pop(away)) == (DELETED, AWAY)
    assert set(found.values()) == {("delivered", None)}
    assert set(found) == {*school.students, *newcomers} - {deleted, away}
    assert await copies(conn, batch) == dict.fromkeys(found, 1)
    assert [event for event, _ in await schedules.events()].count("batch_started") == 1


@pytest.mark.parametrize("named", ["one", "all"])
async def test_a_batch_that_nobody_is_left_for_is_sent_to_nobody(
    schedules: Schedules, conn: asyncpg.Connection, school: School, named: str
) -> None:
    batch = await (schedules.to_the_course() if named == "all" else schedules.accept([str(school.students[0])]))
    await delete(conn, *school.students)

    started = await schedules.start(batch)

    assert (started.running, started.refused) == (False, None)
    row = await schedules.batch(batch)
    assert (row["state"], row["error"], row["skipped"]) == ("sent", None, row["total"])
    assert row["finished_at"] is not None
    assert set((await states(conn, batch)).values()) == {DELETED}
    assert [event for event, _ in await schedules.events()] == ["batch_scheduled", "batch_started", "batch_finished"]


async def test_one_who_has_left_is_no_longer_reachable_and_the_sender_is_not_blamed(
    schedules: Schedules, conn: asyncpg.Connection, school: School
) -> None:
    one, course = await schedules.accept([str(school.students[0])]), await schedules.to_the_course()
    await leave(conn, *school.students)

    for batch in (one, course):
        await schedules.start(batch)
        assert (await schedules.batch(batch))["state"] == "sent"
        assert set((await states(conn, batch)).values()) == {AWAY}


@pytest.fixture(params=["one", "one in the course", "some", "all"])
async def waiting(schedules: Schedules, school: School, request: pytest.FixtureRequest) -> int:
    """A scheduled batch to whom the parameter says."""
    people, course = [str(student) for student in school.students], f"course_{school.course}"
    match request.param:
        case "one":
            return await schedules.accept(people[:1])
        case "one in the course":
            return await schedules.accept(people[:1], context_code=course)
        case "some":
            return await schedules.accept(people[:3])
        case _:
            return await schedules.to_the_course()


@pytest.fixture(params=["enrolment", "account", "permission"])
async def lost(
    conn: asyncpg.Connection, school: School, institution: Institution, waiting: int, request: pytest.FixtureRequest
) -> int:
    """The same, whose sender has lost what the parameter says."""
    match request.param:
        case "enrolment":
            await leave(conn, school.teacher)
        case "account":
            await delete(conn, school.teacher)
        case _:
            await institution.override("send_messages", "TeacherEnrollment", enabled=False, course=school.course)
            await institution.override("send_messages_all", "TeacherEnrollment", enabled=False, course=school.course)

    return waiting


async def test_a_sender_who_lost_the_right_sends_nothing(
    schedules: Schedules, conn: asyncpg.Connection, lost: int
) -> None:
    started = await schedules.start(lost)

    assert not started.running
    row = await schedules.batch(lost)
    assert (row["state"], row["skipped"], row["error"]) == ("error", row["total"], started.refused)
    assert row["error"]
    assert row["finished_at"] is not None
    assert set((await states(conn, lost)).values()) == {REFUSED}
    assert await schedules.events() == [("batch_scheduled", "scheduled"), ("batch_failed", "error")]
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 0
    assert await conn.fetchval("SELECT count(*) FROM scheduled_sends") == 0


async def test_one_conversation_of_all_starts_later_too(
    schedules: Schedules, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    group = await institution.group(course=school.course, members=[school.teacher, *school.students[:4]])
    batch = await schedules.accept([f"group_{group}"], group_conversation=True, subject="Ours", user_note=True)
    await institution.join(group, school.students[4])
    await delete(conn, school.students[0])

    started = await schedules.start(batch)

    assert not started.running
    row = await schedules.batch(batch)
    assert (row["state"], row["total"], row["delivered"], row["skipped"]) == ("sent", 5, 4, 1)
    (conversation,) = await conn.fetch("SELECT id, send_id FROM conversations")
    assert conversation["send_id"] == row["send_id"]
    people = await conn.fetch("SELECT user_id FROM participants ORDER BY user_id")
    assert [person["user_id"] for person in people] == [school.teacher, *school.students[1:5]]
    chunks = await conn.fetch("SELECT first_id, conversation_ids FROM chunks WHERE batch_id = $1", batch)
    assert {(chunk["first_id"], chunk["conversation_ids"]) for chunk in chunks} == {(conversation["id"], None)}
    assert [event for event, _ in await schedules.events()] == ["batch_scheduled", "batch_started", "batch_finished"]


async def test_one_to_one_goes_into_their_thread(
    schedules: Schedules, conn: asyncpg.Connection, school: School
) -> None:
    for _ in range(2):
        batch = await schedules.accept([str(school.students[0])])
        await schedules.start(batch)
        await schedules.deliver(batch)
        assert (await schedules.batch(batch))["state"] == "sent"

    (conversation,) = await conn.fetch("SELECT id FROM conversations")
    assert await conn.fetchval("SELECT count(*) FROM conversation_messages") == 2
    assert not await conn.fetchval("SELECT automated FROM sends LIMIT 1")
    assert conversation["id"]


async def test_files_and_forwarded_messages_are_looked_at_again(
    schedules: Schedules, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    kept, removed = await institution.attachment(school.teacher), await institution.attachment(school.teacher)
    first = await schedules.accept([str(school.students[0])])
    await schedules.start(first)
    await schedules.deliver(first)
    message = await conn.fetchval("SELECT id FROM conversation_messages")
    files = await schedules.accept([str(school.students[1])], attachment_ids=[kept, removed])
    forward = await schedules.accept([str(school.students[1])], forwarded_message_ids=[message])
    await conn.execute("UPDATE attachments SET workflow_state = 'deleted' WHERE id = $1", removed)
    await conn.execute(
        "INSERT INTO message_views (conversation_id, message_id, user_id, deleted_at) VALUES ($1, $1, $2, now())",
        message,
        school.teacher,
    )

    await schedules.start(files)
    refused = await schedules.start(forward)

    row = await schedules.batch(files)
    assert await conn.fetchval("SELECT attachment_ids FROM sends WHERE id = $1", row["send_id"]) == [kept]
    assert refused.refused == "forwarded_message_ids not all from one conversation of yours"


async def test_who_acted_as_the_sender_has_to_be_allowed_to_still(
    schedules: Schedules, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    administrator = await institution.user()
    await institution.admin(administrator)
    actor = await load(conn, administrator, [Context(ContextType.ACCOUNT, ROOT_ACCOUNT)])
    allowed, refused = await schedules.to_the_course(actor=actor), await schedules.to_the_course(actor=actor)
    assert (await schedules.start(allowed)).refused is None
    await conn.execute("UPDATE account_users SET workflow_state = 'deleted'")

    started = await schedules.start(refused)

    assert started.refused == "who acted as the sender may not act as the sender any more"


async def test_merged_people_get_it_under_their_new_names(
    schedules: Schedules, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    old, other, target = school.students[0], school.students[1], school.students[2]
    batch = await schedules.accept([str(old), str(other)])
    await conn.execute(
        "UPDATE users SET workflow_state = 'deleted', merged_into_user_id = $2 WHERE id = $1", old, target
    )

    await schedules.start(batch)
    await schedules.deliver(batch)

    assert await states(conn, batch) == {other: ("delivered", None), target: ("delivered", None)}
    assert (await schedules.batch(batch))["total"] == 2


async def test_a_merged_sender_has_sent_it_under_the_new_name(
    schedules: Schedules, conn: asyncpg.Connection, school: School, institution: Institution
) -> None:
    batch = await schedules.to_the_course()
    other = await institution.user()
    await institution.enroll(school.course, other, "Teacher")
    await delete(conn, school.teacher)
    await conn.execute("UPDATE batches SET sender_id = $1", other)

    await schedules.start(batch)

    row = await schedules.batch(batch)
    assert await conn.fetchval("SELECT author_id FROM sends WHERE id = $1", row["send_id"]) == other


async def test_a_batch_that_was_cancelled_does_not_start(
    schedules: Schedules, conn: asyncpg.Connection, school: School
) -> None:
    batch = await schedules.to_the_course()
    await conn.execute("UPDATE batches SET state = 'cancelled' WHERE id = $1", batch)

    started = await schedules.start(batch)

    assert (started.running, started.refused) == (False, None)
    assert await conn.fetchval("SELECT count(*) FROM scheduled_sends") == 0
    assert await conn.fetchval("SELECT state FROM batches") == "cancelled"
    assert set((await states(conn, batch)).values()) == {("pending", None)}


async def test_what_is_left_of_a_batch_that_was_removed_holds_up_no_other(
    schedules: Schedules, conn: asyncpg.Connection
) -> None:
    removed, batch = await schedules.to_the_course(), await schedules.to_the_course()
    await fall_due(conn, removed)
    await conn.execute("DELETE FROM batches WHERE id = $1", removed)
    assert await start_next(conn, schedules.work) is not None

    assert (await schedules.start(batch)).running


async def test_one_that_is_cancelled_while_it_starts_is_left_to_the_next_look(
    schedules: Schedules, conn: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """The cancel commits after the start has taken the batch: the start waits for its row and finds it cancelled."""
    batch = await schedules.to_the_course()
    await fall_due(conn, batch)
    async with pool.acquire() as other:
        cancel = other.transaction()
        await cancel.start()
        await other.execute("UPDATE batches SET state = 'cancelled' WHERE id = $1", batch)
        start = asyncio.create_task(start_next(conn, schedules.work))
        await until(lambda: waits(other))
        await cancel.commit()
        with pytest.raises(StartFailed):
            await start

    assert await conn.fetchval("SELECT count(*) FROM sends") == 1
    assert (await start_next(conn, schedules.work)) is not None
    assert await conn.fetchval("SELECT state FROM batches") == "cancelled"
    assert set((await states(conn, batch)).values()) == {("pending", None)}


async def waits(conn: Connection) -> bool:
    """Whether somebody waits for a lock in this database."""
    found: bool = await conn.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return found


async def test_what_one_sender_may_start_in_a_day_is_counted_at_the_start(
    schedules: Schedules, conn: asyncpg.Connection, school: School
) -> None:
    schedules.settings = schedules.settings.model_copy(update={"sender_recipients_per_day": 300})
    first, second = await schedules.to_the_course(), await schedules.to_the_course()

    assert (await schedules.start(first)).refused is None
    assert (await schedules.start(second)).refused == "recipients daily limit exceeded"

    row = await schedules.batch(second)
    assert (row["state"], row["error"]) == ("error", "recipients daily limit exceeded")
    schedules.settings = schedules.settings.model_copy(update={"sender_recipients_per_day": 249})
    with pytest.raises(Refusal):
        await schedules.to_the_course()


async def test_a_start_that_fails_changes_nothing_and_names_the_batch(
    schedules: Schedules, conn: asyncpg.Connection, school: School
) -> None:
    batch = await schedules.to_the_course()
    await conn.execute("ALTER TABLE chunks ADD CONSTRAINT broken CHECK (position < 3)")

    with pytest.raises(StartFailed) as failed:
        await schedules.start(batch)
    await conn.execute("ALTER TABLE chunks DROP CONSTRAINT broken")  # the tables are those of the next test

    assert failed.value.batch_id == batch
    assert isinstance(failed.value.__cause__, asyncpg.CheckViolationError)
    assert (await schedules.batch(batch))["state"] == "scheduled"
    assert await conn.fetchval("SELECT count(*) FROM scheduled_sends") == 1
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1
