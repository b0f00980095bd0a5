"""The audit: what counts as delivered and is not there is written, once; what has changed by right is left."""

import asyncio
from datetime import timedelta
from importlib import resources
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.application.directory.events import apply
from service.application.inbox import participant
from service.application.messages.audit import PATIENCE
from service.application.messages.batch_moves import move_batch
from service.application.messages.chunk import ChunkOutcome, deliver_at_once
from service.application.messages.tag_sets import TagSets
from service.domain.batch import Move
from service.domain.event_metadata import Cause
from service.domain.outbox import MessagesRow
from service.domain.participant import Event
from service.runtime import metrics
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import administration, audits, chunks, outbox
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.school import School
from tests.support.user_merges import check_invariants, everything, merged, until_waiting
from workers.audit import Auditor

CAUSE = Cause({"root_account_id": "10000000000001"})
PEOPLE = list(range(10, 22))
KINDS = ("missing", "counters", "unlisted")


async def deliver(conn: Connection, batch_id: int) -> None:
    """All chunks that are pending, each in a transaction of its own, as a worker does."""
    rows = await conn.fetch(
        "SELECT position FROM chunks WHERE batch_id = $1 AND state = 'pending' ORDER BY 1", batch_id
    )
    for row in rows:
        async with conn.transaction():
            assert isinstance(
                await deliver_at_once(conn, TagSets(), batch_id, row["position"], cause=CAUSE), ChunkOutcome
            )


async def delivered(conn: Connection, people: list[int] | None = None, *, chunk_size: int = 2) -> int:
    """A batch of user 1 that has been sent to its last recipient."""
    batch_id = await Batches(conn).accept(people or PEOPLE, chunk_size=chunk_size)
    await deliver(conn, batch_id)
    return batch_id


@pytest.fixture
def auditor(settings: Settings, pool: asyncpg.Pool) -> Auditor:
    """Whose broker is away."""
    return Auditor(settings, pool, Publisher(settings, "test"))


class Found:
    """What audits have counted and logged since it was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        counters = {kind: metrics.AUDIT_DIFFERENCES.labels(kind)._value.get() for kind in KINDS}
        return counters | {
            "batches": metrics.AUDIT_BATCHES._value.get(),
            "people": metrics.AUDIT_RECIPIENTS._value.get(),
        }

    def __call__(self) -> dict[str, int]:
        """What is not 0."""
        return {
            name: int(count - self._before[name]) for name, count in self._now().items() if count > self._before[name]
        }


@pytest.fixture
def found() -> Found:
    """From the beginning of the test on."""
    return Found()


async def audit(auditor: Auditor) -> list[Any]:
    """Turn after turn until there is nothing to do; the log lines."""
    with capture_logs() as logs:
        while await auditor.sweep():
            pass
    return logs


def events(logs: list[Any]) -> list[str]:
    """Names of those that are no mere report of progress."""
    return [line["event"] for line in logs if line["log_level"] != "info"]


async def thread(conn: Connection, user_id: int) -> int:
    """The conversation of the user."""
    conversation: int = await conn.fetchval("SELECT conversation_id FROM participants WHERE user_id = $1", user_id)
    return conversation


async def recorded(conn: Connection) -> list[tuple[int, int]]:
    """(conversation, message) of what waits in the outbox; all of it is taken out."""
    pairs = []
    for _ in outbox.LANES:
        async with conn.transaction():
            taken = await outbox.take_events(conn, patience=timedelta(), copies=10_000, rows=10_000)
            if taken is None:
                break
            pairs += [pair for row in taken.rows if isinstance(row, MessagesRow) for pair in row.pairs]
    return pairs


async def test_an_audit_waits_while_a_batch_is_under_way_but_not_for_long(
    conn: Connection, auditor: Auditor, found: Found, batches: Batches
) -> None:
    batch_id = await delivered(conn)
    await batches.accept(list(range(30, 34)), chunk_size=2)
    assert await auditor.sweep() == 0
    assert found() == {}
    await conn.execute("UPDATE audits SET due_at = due_at - $2::interval WHERE batch_id = $1", batch_id, PATIENCE)
    assert await auditor.sweep() == 1
    assert found()["people"] == 10


async def test_what_is_as_it_was_delivered_is_left(conn: asyncpg.Connection, auditor: Auditor, found: Found) -> None:
    batch = await delivered(conn)
    before = await everything(conn)

    logs = await audit(auditor)

    assert found() == {"batches": 1, "people": len(PEOPLE)}
    assert next(line for line in logs if line["event"] == "batch_audited")["batch_id"] == batch
    assert events(logs) == []
    assert (await everything(conn))[:-1] == before[:-1]
    assert await conn.fetchval("SELECT audited_end = finished_at FROM batches")
    assert await conn.fetchval("SELECT count(*) FROM audits") == 0


LOST = {
    "the row of the recipient": "DELETE FROM participants WHERE user_id = 13",
    "the row of the sender": "DELETE FROM participants p WHERE user_id = 1 AND EXISTS (SELECT FROM participants o"
    " WHERE o.conversation_id = p.conversation_id AND o.user_id = 13)",
    "the conversation": "DELETE FROM conversations c USING participants p WHERE p.conversation_id = c.id"
    " AND p.user_id = 13",
    "all of it": "WITH gone AS (DELETE FROM conversations c USING participants p WHERE p.conversation_id = c.id"
    " AND p.user_id = 13 RETURNING c.id) DELETE FROM participants WHERE conversation_id IN (SELECT id FROM gone)",
    "its place in the inbox": "UPDATE participants SET last_message_at = NULL, unread = false WHERE user_id = 13",
    "its place among what was sent": "UPDATE participants p SET visible_last_authored_at = NULL WHERE user_id = 1"
    " AND EXISTS (SELECT FROM participants o WHERE o.conversation_id = p.conversation_id AND o.user_id = 13)",
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
@pytest.mark.parametrize("private", [True, False])
async def test_what_was_lost_is_written_as_it_was_and_nothing_else(
    conn: asyncpg.Connection, auditor: Auditor, found: Found, lost: str, *, private: bool
) -> None:
    batch = await Batches(conn).accept(PEOPLE, chunk_size=2)
    await conn.execute("UPDATE sends SET private = $1", private)
    await deliver(conn, batch)
    whole = await everything(conn)
    await recorded(conn)
    conversation = await thread(conn, 13)
    await conn.execute(lost)
    assert await everything(conn) != whole

    logs = await audit(auditor)

    assert (await everything(conn))[:-1] == whole[:-1]
    assert found() == {"missing": 1, "batches": 1, "people": len(PEOPLE)}
    (line,) = [line for line in logs if line["event"] == "audit_repaired"]
    assert (line["batch_id"], line["recipients"], line["user_ids"]) == (batch, 1, [13])
    of_sender_alone = "user_id = 1 " in lost
    assert await recorded(conn) == ([] if of_sender_alone else [(conversation, conversation)])
    assert await audit(auditor) == []


async def reused(conn: Connection) -> int:
    """The second batch of user 1 to the same people: its messages stand in the threads of the first."""
    await delivered(conn)
    await conn.execute("UPDATE batches SET audited_end = finished_at")
    batch = await delivered(conn)
    await conn.execute("UPDATE participants SET unread = false, archived = user_id = 13 WHERE user_id <> 1")
    await recorded(conn)
    return batch


async def test_a_message_that_is_missing_in_a_thread_of_before_arrives(
    conn: asyncpg.Connection, auditor: Auditor, found: Found
) -> None:
    batch = await reused(conn)
    conversation = await thread(conn, 13)
    before = await everything(conn)
    await conn.execute("DELETE FROM messages WHERE conversation_id = $1", conversation)

    await audit(auditor)

    assert found() == {"missing": 1, "batches": 1, "people": len(PEOPLE)}
    row = await conn.fetchrow("SELECT * FROM participants WHERE user_id = 13")
    assert row is not None
    assert (row["unread"], row["archived"], row["message_count"]) == (True, False, 2)
    assert row["last_message_at"] == await conn.fetchval(
        "SELECT s.created_at FROM sends s JOIN batches b ON b.send_id = s.id WHERE b.id = $1", batch
    )
    message = await conn.fetchval("SELECT id FROM messages WHERE conversation_id = $1", conversation)
    assert await recorded(conn) == [(conversation, message)]
    await conn.execute("UPDATE participants SET unread = false, archived = true WHERE user_id = 13")
    assert (await everything(conn))[:-1] == before[:-1]
    await check_invariants(conn)


async def test_what_recipients_do_with_a_message_is_no_difference(
    conn: asyncpg.Connection, auditor: Auditor, found: Found
) -> None:
    """They delete it or the conversation, archive, read, star and mute it; so may the sender."""
    await reused(conn)
    threads = {user: await thread(conn, user) for user in PEOPLE}
    for user, event in zip(
        (10, 11, 12, 13), (Event.DESTROY, Event.ARCHIVE, Event.MARK_AS_READ, Event.STAR), strict=True
    ):
        await participant.apply_event(conn, user, [threads[user]], event)
    await participant.apply_event(conn, 1, [threads[14]], Event.DESTROY)
    for user in (15, 1):
        newest = await conn.fetchval("SELECT max(id) FROM messages WHERE conversation_id = $1", threads[15])
        await participant.remove_messages(conn, TagSets(), user, [threads[15]], [newest])
    await participant.remove_messages(conn, TagSets(), 16, [threads[16]], [threads[16]])
    await conn.execute("UPDATE participants SET subscribed = false WHERE user_id = 17")
    before = await everything(conn)

    logs = await audit(auditor)

    assert (found(), events(logs)) == ({"batches": 1, "people": len(PEOPLE)}, [])
    assert (await everything(conn))[:-1] == before[:-1]


async def test_what_an_administrator_takes_from_all_stays_away(
    conn: asyncpg.Connection, auditor: Auditor, found: Found
) -> None:
    await delivered(conn)
    await administration.delete_for_all(conn, await thread(conn, 13))
    before = await everything(conn)

    await audit(auditor)

    assert found() == {"batches": 1, "people": len(PEOPLE)}
    assert (await everything(conn))[:-1] == before[:-1]


@pytest.mark.parametrize("private", [True, False])
async def test_merged_accounts_have_it_under_what_they_have_become(
    conn: asyncpg.Connection, auditor: Auditor, found: Found, *, private: bool
) -> None:
    """A recipient into another one, one into somebody else, by way of a third; one into the sender; and the sender."""
    for _ in range(2):
        batch = await Batches(conn).accept(PEOPLE, chunk_size=5)
        await conn.execute("UPDATE sends SET private = $1", private)
        await deliver(conn, batch)
    merges = [(10, 11), (12, 500), (500, 501), (13, 1), (1, 600)]
    await apply(conn, [merged(old, target, n) for n, (old, target) in enumerate(merges)])
    before = await everything(conn)
    assert await conn.fetchval("SELECT count(*) FROM participants WHERE user_id IN (1, 10, 12, 13)") == 0

    logs = await audit(auditor)

    assert (found(), events(logs)) == ({"batches": 2, "people": 2 * len(PEOPLE)}, [])
    assert (await everything(conn))[:-1] == before[:-1]


async def test_what_a_merged_account_has_lost_it_gets(conn: asyncpg.Connection, auditor: Auditor, found: Found) -> None:
    await delivered(conn)
    await apply(conn, [merged(13, 500)])
    whole = await everything(conn)
    await conn.execute("DELETE FROM participants WHERE user_id = 500")

    await audit(auditor)

    assert found()["missing"] == 1
    assert await conn.fetchval("SELECT user_id FROM participants WHERE user_id IN (13, 500)") == 13
    await apply(conn, [merged(13, 500, 1)])  # as the sweeper for merges does
    assert (await everything(conn))[1] == whole[1]


async def test_several_auditors_audit_a_batch_once(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, found: Found
) -> None:
    for n in range(6):
        await delivered(conn, [user + 100 * n for user in PEOPLE], chunk_size=1)
    await conn.execute("DELETE FROM participants WHERE user_id % 100 = 13")
    await recorded(conn)
    auditors = [Auditor(settings, pool, Publisher(settings, "test")) for _ in range(4)]

    await asyncio.gather(*map(audit, auditors))
    await audit(auditors[0])  # which passed over what others had

    assert found() == {"missing": 6, "batches": 6, "people": 6 * len(PEOPLE)}
    assert len(await recorded(conn)) == 6


async def test_a_killed_auditor_leaves_its_place_to_the_next(
    conn: asyncpg.Connection, pool: asyncpg.Pool, settings: Settings, auditor: Auditor, found: Found
) -> None:
    """It is in the middle of the chunk of the first one who lacks something; the one before is done."""
    await delivered(conn, chunk_size=1)
    await conn.execute("DELETE FROM participants WHERE user_id IN (11, 17)")
    await recorded(conn)
    assert await auditor.sweep() == 1
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE outbox IN SHARE MODE")
        victim = asyncio.create_task(Auditor(settings, pool, Publisher(settings, "test")).sweep())
        await until_waiting(conn)
        await conn.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await victim
    assert await conn.fetchval("SELECT position FROM audits") == 0

    await audit(auditor)

    assert found() == {"missing": 2, "batches": 1, "people": len(PEOPLE)}
    assert len(await recorded(conn)) == 2


@pytest.mark.parametrize("changed", ["delivered = 3", "failed = 2, delivered = 10", "skipped = 1, delivered = 11"])
async def test_counters_are_those_of_the_recipients(
    conn: asyncpg.Connection, auditor: Auditor, found: Found, changed: str
) -> None:
    batch = await delivered(conn)
    whole = dict(await conn.fetchrow("SELECT * FROM batches") or {})
    await conn.execute(f"UPDATE batches SET {changed}, state = 'error'")

    logs = await audit(auditor)

    row = dict(await conn.fetchrow("SELECT * FROM batches") or {})
    assert row | {"audited_end": None} == whole
    assert found() == {"counters": 1, "batches": 1, "people": len(PEOPLE)}
    (line,) = [line for line in logs if line["event"] == "audit_counters"]
    assert (line["batch_id"], line["delivered"]) == (batch, len(PEOPLE))


async def test_counters_of_each_state_are_counted(
    conn: asyncpg.Connection, auditor: Auditor, found: Found, batches: Batches
) -> None:
    """One chunk each was delivered, has failed and was skipped, and two people were taken out of theirs."""
    batch = await batches.accept(PEOPLE, chunk_size=4)
    await conn.execute(
        "INSERT INTO skipped_recipients SELECT $1, u, 'user_deleted', now() FROM unnest('{10, 11}'::bigint[]) u", batch
    )
    await conn.execute("UPDATE chunks SET recipients = '{12, 13}', skipped = 2 WHERE position = 0")
    async with conn.transaction():
        await deliver_at_once(conn, TagSets(), batch, 0, cause=CAUSE)
    await chunks.fail_chunk(conn, batch, 1, error="refused", cause=CAUSE)
    await move_batch(conn, Move.CANCEL, batch, 1, accounts=None, cause=CAUSE)
    whole = dict(await conn.fetchrow("SELECT * FROM batches") or {})
    assert (whole["delivered"], whole["failed"], whole["skipped"]) == (2, 4, 6)
    await conn.execute("UPDATE batches SET delivered = 6, failed = 0")

    await audit(auditor)

    assert dict(await conn.fetchrow("SELECT * FROM batches") or {}) | {"audited_end": None} == whole
    assert found() == {"counters": 1, "batches": 1, "people": 2}


async def test_a_batch_that_ended_with_recipients_who_wait_goes_on(
    conn: asyncpg.Connection, auditor: Auditor, found: Found, batches: Batches
) -> None:
    batch = await batches.accept(PEOPLE, chunk_size=4)
    await conn.execute("UPDATE batches SET state = 'sent', finished_at = now(), delivered = total")

    await audit(auditor)

    assert tuple(await conn.fetchrow("SELECT state, delivered, finished_at FROM batches") or ()) == ("sending", 0, None)
    await deliver(conn, batch)
    await audit(auditor)
    assert found() == {"counters": 1, "batches": 2, "people": len(PEOPLE)}


async def test_recipients_who_are_not_listed_are_reported_and_no_counter_is_changed(
    conn: asyncpg.Connection, auditor: Auditor, found: Found
) -> None:
    await delivered(conn)
    await conn.execute("DELETE FROM chunks WHERE position = 2")

    logs = await audit(auditor)

    assert (found()["unlisted"], events(logs)) == (1, ["audit_unlisted"])
    assert await conn.fetchval("SELECT delivered FROM batches") == len(PEOPLE)


async def test_a_batch_whose_chunks_were_removed_is_left(
    conn: asyncpg.Connection, auditor: Auditor, found: Found
) -> None:
    await delivered(conn)
    await conn.execute("DELETE FROM chunks")

    assert events(await audit(auditor)) == []

    assert found() == {"batches": 1}


async def test_a_batch_is_audited_again_when_it_has_gone_on_and_ended_again(
    conn: asyncpg.Connection, auditor: Auditor, found: Found, batches: Batches
) -> None:
    batch = await batches.accept(PEOPLE, chunk_size=4)
    await chunks.fail_chunk(conn, batch, 1, error="refused", cause=CAUSE)
    await deliver(conn, batch)
    await audit(auditor)
    assert found() == {"batches": 1, "people": 8}
    await conn.execute("DELETE FROM participants WHERE user_id = 13")

    await move_batch(conn, Move.RETRY, batch, 1, accounts=None, cause=CAUSE)
    assert await auditor.sweep() == 0
    async with conn.transaction():
        await conn.execute("UPDATE batches SET recheck = false")
        await deliver_at_once(conn, TagSets(), batch, 1, cause=CAUSE)
    await audit(auditor)

    assert found() == {"missing": 1, "batches": 2, "people": 8 + 12}


async def test_a_batch_that_goes_on_during_its_audit_is_audited_at_its_next_end(
    conn: asyncpg.Connection, auditor: Auditor, found: Found, batches: Batches
) -> None:
    batch = await batches.accept(PEOPLE, chunk_size=1)
    await chunks.fail_chunk(conn, batch, 11, error="refused", cause=CAUSE)
    await deliver(conn, batch)
    assert await auditor.sweep() == 1
    await move_batch(conn, Move.RETRY, batch, 1, accounts=None, cause=CAUSE)
    await audit(auditor)
    assert found() == {"people": 5}

    async with conn.transaction():
        await conn.execute("UPDATE batches SET recheck = false")
        await deliver_at_once(conn, TagSets(), batch, 11, cause=CAUSE)
    await audit(auditor)

    assert found() == {"batches": 1, "people": 5 + 12}
    assert await conn.fetchval("SELECT count(*) FROM audits") == 0


async def test_batches_that_have_not_ended_are_not_audited(
    conn: asyncpg.Connection, auditor: Auditor, batches: Batches
) -> None:
    for state in ("scheduled", "created", "sending", "paused", "cancelled"):
        await batches.set_state(await batches.accept(PEOPLE, chunk_size=2), state)

    assert await auditor.sweep() == 0


async def test_one_that_cannot_be_audited_does_not_hold_up_the_others(
    conn: asyncpg.Connection, auditor: Auditor, found: Found
) -> None:
    first = await delivered(conn)
    await conn.execute("DELETE FROM participants WHERE user_id = 13")
    await delivered(conn, [100, 101])
    await conn.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON participants FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        logs = await audit(auditor)
    finally:
        await conn.execute("DROP FUNCTION refuse() CASCADE")

    assert events(logs) == ["audit_failed"]
    assert found() == {"batches": 1, "people": 2 + 2}
    row = await conn.fetchrow("SELECT *, due_at > now() AS later FROM audits")
    assert row is not None
    assert (row["batch_id"], row["error"], row["later"]) == (first, "RaiseError: refused", True)
    await conn.execute("UPDATE audits SET due_at = now()")
    await audit(auditor)
    assert found() == {"missing": 1, "batches": 2, "people": 2 + len(PEOPLE)}


async def test_the_oldest_end_without_an_audit_has_an_age(conn: asyncpg.Connection, auditor: Auditor) -> None:
    await delivered(conn)
    await conn.execute("UPDATE batches SET finished_at = now() - interval '1 h'")
    assert 3600 <= await audits.audit_lag(conn) < 3700

    await audit(auditor)

    assert metrics.AUDIT_LAG._value.get() == 0


async def test_what_is_written_is_filed_as_the_delivery_would_have(
    conn: asyncpg.Connection, auditor: Auditor, school: School, batches: Batches
) -> None:
    batch = await batches.accept(school.students, chunk_size=100, sender=school.teacher)
    await conn.execute("UPDATE batches SET tags = $1", [f"course_{school.course}"])
    await deliver(conn, batch)
    whole = await everything(conn)
    assert await conn.fetchval("SELECT count(*) FROM participants WHERE tag_set = 0") == 0
    await conn.execute("DELETE FROM conversations; DELETE FROM participants")

    await audit(auditor)

    assert (await everything(conn))[:-1] == whole[:-1]


async def test_what_is_stuck_is_a_figure(conn: asyncpg.Connection, auditor: Auditor, batches: Batches) -> None:
    """The settings of these tests have a long patience."""
    await batches.accept(PEOPLE, chunk_size=2)
    await conn.execute("UPDATE batches SET created_at = now() - interval '11 h'")
    await conn.execute("UPDATE chunks SET updated_at = now() - interval '11 h'")

    await auditor.sweep()

    kinds = ("sending", "scheduled", "cancelled", "replies", "updates", "events")
    assert [metrics.STUCK.labels(kind)._value.get() for kind in kinds] == [1, 0, 0, 0, 0, 0]


async def test_what_ended_before_there_were_audits_counts_as_audited(conn: asyncpg.Connection) -> None:
    """What runs at that moment does not. The migration is undone here, and applied again."""
    migration = resources.files("sql").joinpath("migrations/014_audits.sql").read_text("utf-8")
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(
            "DROP TABLE audits, taken_conversations; ALTER TABLE batches DROP COLUMN audited_end, DROP COLUMN moved_at"
        )
        await conn.execute(
            "INSERT INTO batches"
            " (send_id, sender_id, message_id, tags, user_note, state, total, created_at, finished_at)"
            " SELECT 1, 1, 1, '{}', false, state, 0, now(), finished"
            " FROM (VALUES ('sent', now() - interval '1 s'), ('sending', NULL)) v(state, finished)"
        )
        await conn.execute(migration)
        await audits.open_audits(conn, limit=10)
        assert await conn.fetch("SELECT FROM audits") == []

        await conn.execute("UPDATE batches SET state = 'sent', finished_at = clock_timestamp() WHERE state = 'sending'")
        await audits.open_audits(conn, limit=10)
        assert await conn.fetchval("SELECT count(*) FROM audits") == 1
    finally:
        await transaction.rollback()
