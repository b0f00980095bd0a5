"""Deliverer: how often a chunk that cannot be written is tried, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import asyncpg
import orjson
import pytest

from service.application.directory.events import apply
from service.contracts.commands import DeliverChunk
from service.runtime import event_metadata
from service.runtime.settings import Settings
from sql import chunks, outbox
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.figures import growth
from tests.support.user_merges import merged
from tests.support.waiting import until
from workers import deliver
from workers.attempts import MAX_ATTEMPTS, MAX_REDELIVERIES, TOO_MANY_REDELIVERIES
from workers.deliver import Deliverer
from workers.outcome import DeadLetter, Done, Requeue, outcome_of


@pytest.fixture
async def unwritable(conn: asyncpg.Connection, batches: Batches) -> DeliverChunk:
    """Of two chunks, the first is one recipient whose threads the database refuses (a thread of that id is there)."""
    batch = await batches.accept([10, 11], chunk_size=1)
    await conn.execute(
        "INSERT INTO conversations SELECT first_id, 1, 0, 0, false, false FROM chunks WHERE position = 0"
    )
    return DeliverChunk(batch_id=batch, position=0)


async def state(conn: asyncpg.Connection, command: DeliverChunk) -> asyncpg.Record:
    """The chunk's row."""
    row = await conn.fetchrow(
        "SELECT * FROM chunks WHERE batch_id = $1 AND position = $2", command.batch_id, command.position
    )
    assert row is not None
    return row


async def time_passes(conn: asyncpg.Connection, by: timedelta) -> None:
    """The last failure is longer ago."""
    await conn.execute("UPDATE chunks SET tried_at = tried_at - $1::interval", by)


async def test_a_failing_chunk_waits_twice_as_long_each_time_and_is_given_up_in_the_end(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, unwritable: DeliverChunk
) -> None:
    deliverer = Deliverer(settings, pool)
    failed = growth("worker", "clarion_consumer_errors_total", consumer="deliver", outcome="failed")
    for attempt in range(1, MAX_ATTEMPTS):
        wait = timedelta(seconds=settings.retry_after) * 2 ** (attempt - 1)
        assert await deliverer.handle(unwritable) == Done()
        row = await state(conn, unwritable)
        assert (row["state"], row["attempts"]) == ("pending", attempt)
        assert row["due_at"] - row["tried_at"] == wait
        await time_passes(conn, wait)

    outcome = await deliverer.handle(unwritable)

    row = await state(conn, unwritable)
    assert (row["state"], row["attempts"]) == ("failed", MAX_ATTEMPTS)
    assert outcome == DeadLetter(row["error"])
    assert failed() == MAX_ATTEMPTS
    assert await deliverer.handle(unwritable) == Done()
    assert await deliverer.handle(DeliverChunk(batch_id=unwritable.batch_id, position=1)) == Done()
    batch = await conn.fetchrow("SELECT * FROM batches")
    assert batch is not None
    assert (batch["state"], batch["failed"], batch["delivered"], batch["total"]) == ("error", 1, 1, 2)


async def test_commands_that_came_twice_do_not_use_up_the_attempts(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, unwritable: DeliverChunk
) -> None:
    deliverer = Deliverer(settings, pool)

    for _ in range(3 * MAX_ATTEMPTS):
        assert await deliverer.handle(unwritable) == Done()

    row = await state(conn, unwritable)
    assert (row["state"], row["attempts"]) == ("pending", 1)
    assert row["due_at"] > datetime.now(UTC)


async def test_an_unknown_chunk_goes_to_the_dead_letters(settings: Settings, pool: asyncpg.Pool) -> None:
    assert await Deliverer(settings, pool).handle(DeliverChunk(batch_id=4711, position=0)) == DeadLetter(
        "no such chunk"
    )


@pytest.mark.parametrize("stopped", ["scheduled", "paused"])
async def test_a_stopped_batch_is_left_alone(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches, stopped: str
) -> None:
    batch = await batches.accept([10, 11], chunk_size=2)
    await batches.set_state(batch, stopped)

    assert await Deliverer(settings, pool).handle(DeliverChunk(batch_id=batch, position=0)) == Done()

    assert await conn.fetchval("SELECT state FROM chunks") == "pending"
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 0


async def test_what_a_cancel_has_left_in_work_is_settled_by_its_next_command(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    """Its worker died, so it was not settled by the cancel nor by its delivery."""
    batch = await batches.accept([10, 11, 12], chunk_size=2)
    await batches.set_state(batch, "cancelled")
    deliverer = Deliverer(settings, pool)

    for _ in range(2):
        for position in range(2):
            assert await deliverer.handle(DeliverChunk(batch_id=batch, position=position)) == Done()

    assert await conn.fetchval("SELECT count(*) FROM chunks WHERE (state, error) = ('skipped', 'cancelled')") == 2
    row = await conn.fetchrow("SELECT state, skipped, finished_at IS NOT NULL FROM batches")
    assert tuple(row or ()) == ("cancelled", 3, True)
    recorded = await conn.fetch("SELECT event FROM outbox ORDER BY id")
    assert [row["event"] for row in recorded] == ["batch_progress", "batch_finished"]


@pytest.fixture
async def fails_when_let(pool: asyncpg.Pool, conn: asyncpg.Connection) -> AsyncIterator[Connection]:
    """Every delivery waits for an advisory lock, which the connection holds, and fails then."""
    await conn.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(1); RAISE EXCEPTION ''no''; END';
        CREATE TRIGGER refuse BEFORE INSERT ON conversations FOR EACH ROW EXECUTE FUNCTION refuse();
    """)
    async with pool.acquire() as holder:
        await holder.execute("SELECT pg_advisory_lock(1)")
        yield holder
    await conn.execute("DROP TRIGGER refuse ON conversations; DROP FUNCTION refuse()")


@pytest.mark.parametrize("attempts", [0, MAX_ATTEMPTS - 1])
async def test_what_fails_after_its_batch_was_cancelled_is_cancelled(
    *,
    settings: Settings,
    pool: asyncpg.Pool,
    conn: asyncpg.Connection,
    batches: Batches,
    fails_when_let: Connection,
    attempts: int,
) -> None:
    """It was in work then; whatever attempt it was, it is not tried again, and no recipient counts as failed."""
    batch = await batches.accept([10, 11], chunk_size=2)
    await conn.execute("UPDATE chunks SET attempts = $1", attempts)
    delivery = asyncio.create_task(Deliverer(settings, pool).handle(DeliverChunk(batch_id=batch, position=0)))
    await doing(pool, WAITS, 1)

    await batches.set_state(batch, "cancelled")
    await fails_when_let.execute("SELECT pg_advisory_unlock(1)")

    assert await delivery == Done()
    row = await conn.fetchrow("SELECT state, error, attempts FROM chunks")
    assert tuple(row or ()) == ("skipped", "cancelled", attempts)
    counted = await conn.fetchrow("SELECT failed, skipped, finished_at IS NOT NULL FROM batches")
    assert tuple(counted or ()) == (0, 2, True)


async def test_a_chunk_whose_recipients_were_all_merged_away_is_swept_up_and_ends_its_batch(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    batch = await batches.accept([10, 11, 12, 13], chunk_size=2)
    await apply(conn, [merged(10, 12), merged(11, 13)])
    deliverer = Deliverer(settings, pool)

    assert await deliverer.handle(DeliverChunk(batch_id=batch, position=1)) == Done()
    for left in (1, 0):
        due = await chunks.take_due_chunks(conn, patience=timedelta(), limit=10)
        assert [found.position for found in due] == [0] * left
        for _ in range(2):
            assert await deliverer.handle(DeliverChunk(batch_id=batch, position=0)) == Done()

    counted = await conn.fetchrow("SELECT state, delivered, failed, skipped, total FROM batches")
    assert tuple(counted or ()) == ("sent", 2, 0, 2, 4)


async def test_a_chunk_that_kills_its_workers_is_given_up_and_the_others_arrive(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    batch = await batches.accept([10, 11], chunk_size=1)
    deadly, harmless = (DeliverChunk(batch_id=batch, position=position) for position in range(2))
    deliverer = Deliverer(settings, pool)

    assert [await deliverer.redelivered(deadly) for _ in range(MAX_REDELIVERIES)] == [None] * MAX_REDELIVERIES
    assert await deliverer.redelivered(deadly) == DeadLetter(TOO_MANY_REDELIVERIES)
    assert await deliverer.redelivered(deadly) == DeadLetter(TOO_MANY_REDELIVERIES)
    assert await deliverer.handle(deadly) == Done()

    assert await deliverer.redelivered(harmless) is None
    assert await deliverer.handle(harmless) == Done()
    assert await deliverer.redelivered(harmless) is None
    assert await deliverer.redelivered(DeliverChunk(batch_id=batch, position=2)) is None
    row = await conn.fetchrow("SELECT state, failed, delivered FROM batches")
    assert row is not None
    assert tuple(row) == ("error", 1, 1)
    assert (await state(conn, deadly))["error"] == TOO_MANY_REDELIVERIES


async def test_what_a_command_changes_is_caused_by_it(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    """Also where it ends a chunk in another way than by delivering it (canvas/events.md 1.1)."""
    batch = await batches.accept([10, 11], chunk_size=1)
    delivered, given_up = (DeliverChunk(batch_id=batch, position=position) for position in range(2))
    deliverer = Deliverer(settings, pool)

    await deliverer.handle(delivered)
    for _ in range(MAX_REDELIVERIES + 1):
        await deliverer.redelivered(given_up)

    recorded = await conn.fetch("SELECT event, cause FROM outbox ORDER BY id")
    root = {"root_account_id": "10000000000001", "job_tag": "deliver"}
    assert [(row["event"], orjson.loads(row["cause"])) for row in recorded] == [
        *(
            (event, {**root, "job_id": f"deliver.{batch}.0"})
            for event in ("delivered", "batch_started", "batch_progress")
        ),
        ("batch_failed", {**root, "job_id": f"deliver.{batch}.1"}),
    ]


@pytest.mark.parametrize("again", ["delivered", "given up again"])
async def test_a_batch_starts_once_also_when_all_that_was_given_up_is_requeued(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches, again: str
) -> None:
    """Its counters stand at 0 again; who listens must not take it for another batch."""
    batch = await batches.accept([10, 11, 12, 13], chunk_size=2)
    commands = [DeliverChunk(batch_id=batch, position=position) for position in range(2)]
    deliverer = Deliverer(settings, pool)
    cause = event_metadata.job(settings, message_id="deliver", name="deliver")

    async def give_up() -> None:
        for position in range(2):
            await chunks.fail_chunk(conn, batch, position, error="no", cause=cause)

    await give_up()
    began = await conn.fetchval("SELECT started_at FROM batches")
    await chunks.revive_chunks(conn, [(batch, 0), (batch, 1)], due_after=timedelta())
    if again == "delivered":
        assert [await deliverer.handle(command) for command in commands] == [Done(), Done()]
    else:
        await give_up()

    await conn.execute("DELETE FROM outbox WHERE event = 'delivered'")
    async with conn.transaction():
        recorded = await outbox.take_events(conn, patience=timedelta(), copies=10, rows=10)
    assert recorded is not None
    last = "batch_finished" if again == "delivered" else "batch_failed"
    assert [event.message_id for row in recorded.rows for event in row.events()] == [
        f"batch_started.{batch}",
        f"batch_progress.{batch}.2",
        f"batch_failed.{batch}",
        f"batch_progress.{batch}.2.1",
        f"{last}.{batch}.1",
    ]
    assert await conn.fetchval("SELECT started_at FROM batches") == began


async def test_with_events_switched_off_nothing_is_recorded(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    batch = await batches.accept([10, 11], chunk_size=2)
    quiet = settings.model_copy(update={"events": False})

    assert await Deliverer(quiet, pool).handle(DeliverChunk(batch_id=batch, position=0)) == Done()

    assert await conn.fetchval("SELECT state FROM batches") == "sent"
    assert await conn.fetchval("SELECT count(*) FROM outbox") == 0


# What an operator has to mend, and how it is mended.
INSTALLATIONS = {
    "an older schema: no function": (
        "ALTER FUNCTION batch_events(batches, timestamptz, integer) RENAME TO elsewhere",
        "ALTER FUNCTION elsewhere(batches, timestamptz, integer) RENAME TO batch_events",
    ),
    "an older schema: no column": (
        "ALTER TABLE participants RENAME COLUMN touched_at TO elsewhere",
        "ALTER TABLE participants RENAME COLUMN elsewhere TO touched_at",
    ),
    "a session that the server ends": (
        "CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;"
        "CREATE TRIGGER elsewhere BEFORE INSERT ON participants FOR EACH ROW EXECUTE FUNCTION elsewhere()",
        "DROP FUNCTION elsewhere() CASCADE",
    ),
    "an older schema: no table": (
        "ALTER TABLE outbox RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO outbox",
    ),
}


@pytest.fixture(params=INSTALLATIONS)
async def faulty(request: pytest.FixtureRequest, conn: asyncpg.Connection) -> AsyncIterator[str]:
    """An installation that an operator has to mend; the statement that mends it."""
    break_it, mend_it = INSTALLATIONS[request.param]
    await conn.execute(break_it)
    yield mend_it
    with suppress(asyncpg.SyntaxOrAccessError):  # the test has mended it
        await conn.execute(mend_it)


async def fails_outside(deliverer: Deliverer, command: DeliverChunk) -> None:
    """It is held, more often than it may fail."""
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as raised:
            await deliverer.handle(command)
        assert isinstance(outcome_of(raised.value), Requeue)


async def test_a_fault_of_the_installation_is_none_of_the_chunk(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches, faulty: str
) -> None:
    command = DeliverChunk(batch_id=await batches.accept([10, 11], chunk_size=2), position=0)
    deliverer = Deliverer(settings, pool)

    await fails_outside(deliverer, command)
    before = await state(conn, command)
    await conn.execute(faulty)
    assert await deliverer.handle(command) == Done()

    assert (before["state"], before["attempts"], before["error"]) == ("pending", 0, None)
    assert (await state(conn, command))["state"] == "delivered"


@pytest.mark.parametrize(
    "session", [{"default_transaction_read_only": "on"}, {"search_path": "nowhere"}, {"role": "pg_monitor"}], ids=str
)
async def test_a_session_that_may_not_write_or_sees_no_schema_is_no_fault_of_the_chunk(
    settings: Settings, database_url: str, conn: asyncpg.Connection, batches: Batches, session: dict[str, str]
) -> None:
    """Read-only after a failover, a wrong schema, rights that were not granted."""
    command = DeliverChunk(batch_id=await batches.accept([10, 11], chunk_size=2), position=0)

    async with asyncpg.create_pool(database_url, min_size=0, max_size=2, server_settings=session) as closed:
        await fails_outside(Deliverer(settings, closed), command)

    row = await state(conn, command)
    assert (row["state"], row["attempts"], row["redeliveries"]) == ("pending", 0, 0)


async def test_a_redelivery_that_something_outside_holds_up_is_not_held_against_the_chunk(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches
) -> None:
    command = DeliverChunk(batch_id=await batches.accept([10, 11], chunk_size=2), position=0)
    deliverer = Deliverer(settings, pool)

    for _ in range(3 * MAX_REDELIVERIES):
        assert await deliverer.redelivered(command) is None
        await deliverer.survived(command)
    await deliverer.survived(command)

    assert (await state(conn, command))["redeliveries"] == 0


@pytest.mark.parametrize("patience", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_chunk_whose_locks_others_keep_is_put_off_and_not_counted(
    settings: Settings, database_url: str, conn: asyncpg.Connection, batches: Batches, patience: timedelta
) -> None:
    """Not for longer than until it falls due anyway."""
    batch = await batches.accept([10, 11], chunk_size=2, patience=patience)
    command = DeliverChunk(batch_id=batch, position=0)
    async with (
        asyncpg.create_pool(database_url, min_size=0, max_size=2, server_settings={"lock_timeout": "50ms"}) as eager,
        conn.transaction(),
    ):
        await conn.execute("SELECT FROM batches FOR UPDATE")
        assert await Deliverer(settings, eager).handle(command) == Done()

    row = await state(conn, command)
    assert (row["state"], row["attempts"], row["error"]) == ("pending", 0, None)
    assert row["due_at"] < datetime.now(UTC) + min(patience / 2, timedelta(minutes=1))


DOING = """
    SELECT count(*) = $1 FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND {what}
"""


async def doing(pool: asyncpg.Pool, what: str, sessions: int) -> None:
    """Returns when so many of the others' sessions are in that condition; within a transaction none would change."""

    async def so_many() -> bool:
        return bool(await pool.fetchval(DOING.format(what=what), sessions))

    await until(so_many)


HAS_READ = "state = 'idle' AND query LIKE '-- All that the delivery of a pending chunk%'"
WAITS = "state = 'active' AND wait_event_type = 'Lock'"


async def test_no_more_chunks_are_written_at_once_than_there_are_lanes(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have been read by then, and hold neither a transaction nor a lock."""
    monkeypatch.setattr(deliver, "FEW", 1)
    batch = await batches.accept(range(10, 18), chunk_size=2)
    deliverer = Deliverer(settings.model_copy(update={"deliver_lanes": 2}), pool)
    async with conn.transaction():
        await conn.execute("LOCK TABLE conversations IN SHARE MODE")
        commands = [DeliverChunk(batch_id=batch, position=position) for position in range(4)]
        handled = [asyncio.create_task(deliverer.handle(command)) for command in commands]
        await doing(pool, WAITS, 2)
        await doing(pool, HAS_READ, 2)

    assert await asyncio.gather(*handled) == [Done()] * 4


async def test_a_chunk_of_few_does_not_wait_for_a_lane(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FEW", 2)
    many = await batches.accept([10, 11, 12], chunk_size=3)
    few = await batches.accept([13, 14], chunk_size=2)
    deliverer = Deliverer(settings.model_copy(update={"deliver_lanes": 1}), pool)
    async with conn.transaction():
        await conn.execute("SELECT FROM batches WHERE id = $1 FOR UPDATE", many)
        held = asyncio.create_task(deliverer.handle(DeliverChunk(batch_id=many, position=0)))
        await doing(pool, WAITS, 1)
        assert await deliverer.handle(DeliverChunk(batch_id=few, position=0)) == Done()
        assert not held.done()

    assert await held == Done()


async def test_a_commit_on_its_way_holds_up_no_lane(
    settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the disk, which has room for the next; more commands than there are lanes make use of that."""
    monkeypatch.setattr(deliver, "FEW", 1)
    deliverer = Deliverer(settings.model_copy(update={"deliver_lanes": 1}), pool)
    commands = [
        DeliverChunk(batch_id=await batches.accept(recipients, chunk_size=2), position=0)
        for recipients in ([10, 11], [12, 13])
    ]
    assert deliverer.commands_at_once >= len(commands)
    await conn.execute("""
        CREATE FUNCTION commit_late() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER commit_late AFTER UPDATE ON chunks DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION commit_late();
    """)
    try:
        async with conn.transaction():
            await conn.execute("SELECT pg_advisory_xact_lock(77)")
            handled = [asyncio.create_task(deliverer.handle(command)) for command in commands]
            await doing(pool, WAITS + " AND query = 'COMMIT;'", len(commands))
        assert await asyncio.gather(*handled) == [Done()] * 2
    finally:
        await conn.execute("DROP FUNCTION commit_late() CASCADE")
