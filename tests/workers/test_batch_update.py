"""How a commanded batch update ends (workers/batch_update.py)."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
import pytest

from service.application.inbox import batch_update
from service.contracts.commands import UpdateConversations
from service.contracts.wording import ERROR_LIMIT
from service.domain.batch_updates import ProgressState
from service.domain.participant import Event
from service.runtime import metrics
from service.runtime.postgres import create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import batch_updates
from sql.batch_updates import Progress
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.participants import participant_row
from workers.attempts import CONFLICT_RETRIES, MAX_ATTEMPTS, MAX_REDELIVERIES, TOO_MANY_REDELIVERIES
from workers.batch_update import Updater
from workers.outcome import DeadLetter, Done

Contended = Callable[[int], AbstractAsyncContextManager[None]]


@pytest.fixture
def updater(settings: Settings, pool: asyncpg.Pool) -> Updater:
    """Its publisher is not connected: handling needs no broker."""
    return Updater(settings, pool, Publisher(settings, "test"))


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(2)


@pytest.fixture
async def unstarrable(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """A database that lets no user star anything, for reasons of its own."""
    await conn.execute("ALTER TABLE participants ADD CONSTRAINT no_stars CHECK (NOT starred)")
    yield
    await conn.execute("ALTER TABLE participants DROP CONSTRAINT no_stars")


async def accept(conn: asyncpg.Connection, user: int, ids: Sequence[object], event: Event) -> UpdateConversations:
    progress = await batch_update.accept(conn, user, [str(id_) for id_ in ids], event)
    return UpdateConversations(progress_id=progress.id)


async def look(conn: asyncpg.Connection, command: UpdateConversations) -> Progress:
    found = await batch_updates.find_progress(conn, command.progress_id)
    assert found is not None
    return found


async def test_one_command_does_the_whole(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = [await threads.private(ann, me) for _ in range(9)]
    command = await accept(conn, me, made, Event.ARCHIVE)

    assert await updater.handle(command) == Done()

    assert (await look(conn, command)).message == "9 conversations processed"
    assert all([(await participant_row(conn, m, me))["archived"] for m in made])


async def test_a_command_that_comes_twice_or_late_does_no_harm(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    done, cancelled = await accept(conn, me, [made], Event.STAR), await accept(conn, me, [made], Event.ARCHIVE)
    await updater.handle(done)
    await batch_update.cancel(conn, me, cancelled.progress_id, None)
    await threads.update(made, me, starred=False)

    assert [await updater.handle(command) for command in (done, cancelled)] == [Done(), Done()]

    after = await participant_row(conn, made, me)
    assert (after["starred"], after["archived"]) == (False, False)
    assert (await look(conn, cancelled)).state is ProgressState.FAILED


@pytest.mark.parametrize("end", [ProgressState.COMPLETED, ProgressState.FAILED])
async def test_an_update_that_has_ended_does_not_fail_after_all(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater, end: ProgressState
) -> None:
    me, ann = people
    command = await accept(conn, me, [await threads.private(ann, me)], Event.STAR)
    if end is ProgressState.COMPLETED:
        await updater.handle(command)
    else:
        await batch_update.cancel(conn, me, command.progress_id, "changed my mind")
    ended = await look(conn, command)

    await batch_updates.fail_progress(conn, command.progress_id, error="too late", message="too late")

    assert await look(conn, command) == ended
    assert ended.state is end


async def test_a_command_for_nothing_goes_to_the_dead_letters(updater: Updater) -> None:
    assert await updater.handle(UpdateConversations(progress_id=12)) == DeadLetter("no such progress")


async def age(conn: asyncpg.Connection) -> None:
    """The last failure was long ago."""
    await conn.execute("UPDATE batch_updates SET tried_at = tried_at - interval '1 day'")


@pytest.mark.usefixtures("unstarrable")
async def test_what_cannot_be_done_is_tried_again_ever_later_and_fails_with_the_reason(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater, settings: Settings
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    command = await accept(conn, me, [12, 13, 14, 15, made], Event.STAR)

    waits = []
    for _ in range(MAX_ATTEMPTS - 1):
        assert await updater.handle(command) == Done()
        assert await updater.handle(command) == Done()  # doubled: within the wait it does not count
        assert (await look(conn, command)).state is ProgressState.QUEUED
        waits.append(await conn.fetchval("SELECT due_at - tried_at FROM batch_updates"))
        await age(conn)
    outcome = await updater.handle(command)

    found = await look(conn, command)
    assert isinstance(outcome, DeadLetter)
    assert "no_stars" in outcome.reason
    assert (found.state, found.done) == (ProgressState.FAILED, 0)
    assert "no_stars" in (found.message or "")
    assert [wait.total_seconds() / settings.retry_after for wait in waits] == [1, 2, 4, 8]
    assert await updater.handle(command) == Done()
    again = await updater.redelivered(command)
    assert isinstance(again, DeadLetter)
    assert "no_stars" in again.reason


async def test_a_reason_that_no_row_can_hold_is_kept_as_far_as_one_can(
    conn: asyncpg.Connection, threads: Threads, people: list[int], settings: Settings, pool: asyncpg.Pool
) -> None:
    class Failing(Updater):
        async def _carry_out(self, progress_id: int) -> ProgressState | None:
            raise ValueError("no\0where" + "!" * ERROR_LIMIT)

    me, ann = people
    command = await accept(conn, me, [await threads.private(ann, me)], Event.STAR)
    updater = Failing(settings, pool, Publisher(settings, "test"))
    counter = metrics.UPDATES_FINISHED.labels(ProgressState.FAILED)._value
    before = counter.get()

    for _ in range(MAX_ATTEMPTS - 1):
        assert await updater.handle(command) == Done()
        await age(conn)
    assert await updater.handle(command) == DeadLetter(("ValueError: nowhere" + "!" * ERROR_LIMIT)[:ERROR_LIMIT])

    assert (await look(conn, command)).message == ("nowhere" + "!" * ERROR_LIMIT)[:ERROR_LIMIT]
    assert counter.get() == before + 1


async def test_a_failure_that_passes_leaves_no_trace(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    command = await accept(conn, me, [made], Event.STAR)
    await conn.execute("ALTER TABLE participants ADD CONSTRAINT no_stars CHECK (NOT starred)")
    try:
        assert await updater.handle(command) == Done()
    finally:
        await conn.execute("ALTER TABLE participants DROP CONSTRAINT no_stars")

    assert await updater.handle(command) == Done()

    found = await look(conn, command)
    assert (found.state, found.message) == (ProgressState.COMPLETED, "1 conversation processed")


@pytest.fixture
def contended(conn: asyncpg.Connection) -> Contended:
    """While the block runs, so many attempts at starring lose against another transaction, then one does not."""

    @asynccontextmanager
    async def contend(times: int) -> AsyncIterator[None]:
        await conn.execute(
            f"""
            CREATE SEQUENCE attempts_at_starring;
            CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('attempts_at_starring') <= {times} THEN
                    RAISE EXCEPTION 'could not serialize' USING ERRCODE = 'serialization_failure';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER lose BEFORE UPDATE OF starred ON participants FOR EACH ROW EXECUTE FUNCTION lose();
            """
        )
        yield
        await conn.execute("DROP FUNCTION lose() CASCADE; DROP SEQUENCE attempts_at_starring")

    return contend


async def test_an_update_that_meets_other_transactions_runs_again_at_once(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater, contended: Contended
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    command = await accept(conn, me, [made], Event.STAR)

    async with contended(CONFLICT_RETRIES - 1):
        assert await updater.handle(command) == Done()

    assert (await look(conn, command)).state is ProgressState.COMPLETED
    assert await conn.fetchval("SELECT attempts FROM batch_updates") == 0


async def test_an_update_that_always_meets_other_transactions_waits_for_its_next_attempt(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater, contended: Contended
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    command = await accept(conn, me, [made], Event.STAR)

    async with contended(CONFLICT_RETRIES):
        assert await updater.handle(command) == Done()
        assert (await look(conn, command)).state is ProgressState.QUEUED
        assert await conn.fetchval("SELECT attempts FROM batch_updates") == 1
        assert await updater.handle(command) == Done()

    assert (await look(conn, command)).state is ProgressState.COMPLETED


@pytest.mark.usefixtures("unstarrable")
async def test_an_update_that_failed_before_it_was_cancelled_is_not_put_away_when_it_comes_back(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    command = await accept(conn, me, [made], Event.STAR)
    await updater.handle(command)
    await batch_update.cancel(conn, me, command.progress_id, "changed my mind")

    assert await updater.redelivered(command) is None
    assert await updater.handle(command) == Done()
    assert (await look(conn, command)).message == "changed my mind"


async def test_no_more_redeliveries_are_forgiven_than_there_were(conn: asyncpg.Connection, updater: Updater) -> None:
    command = await accept(conn, 1, [12], Event.STAR)
    await updater.redelivered(command)

    for _ in range(3):
        await updater.survived(command)

    assert await conn.fetchval("SELECT redeliveries FROM batch_updates") == 0


async def test_an_update_that_kills_its_workers_fails_in_the_end(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    command, cancelled, done = [await accept(conn, me, [made], Event.ARCHIVE) for _ in range(3)]
    await batch_update.cancel(conn, me, cancelled.progress_id, "changed my mind")
    await updater.handle(done)

    assert [await updater.redelivered(command) for _ in range(MAX_REDELIVERIES)] == [None] * MAX_REDELIVERIES
    assert await updater.redelivered(command) == DeadLetter(TOO_MANY_REDELIVERIES)
    assert await updater.redelivered(command) == DeadLetter(TOO_MANY_REDELIVERIES)

    assert ((await look(conn, command)).state, (await look(conn, command)).message) == ("failed", TOO_MANY_REDELIVERIES)
    assert [await updater.redelivered(other) for other in (cancelled, done)] == [None, None]
    assert await updater.redelivered(UpdateConversations(progress_id=12)) is None


@pytest.mark.parametrize("event", Event)
async def test_five_hundred_cost_a_handful_of_statements(
    conn: asyncpg.Connection, threads: Threads, people: list[int], settings: Settings, event: Event
) -> None:
    """Of every kind: one's own, once and again, another user's, missing ones and what is no id at all."""
    me, ann = people
    own = [await threads.private(ann, me) for _ in range(100)]
    foreign = [await threads.private(ann, ann) for _ in range(10)]
    ids = [*own, *foreign, *own[::-1], *own, *own, *range(12, 72), *(f"wat-{number}" for number in range(30))]
    first, command = await accept(conn, me, own[:1], Event.STAR), await accept(conn, me, ids, event)
    seen: list[str] = []

    pool = await create_pool(settings, size=1)
    updater = Updater(settings, pool, Publisher(settings, "test"))
    await updater.handle(first)  # by now the connection knows what types there are
    async with pool.acquire() as only:
        only.add_query_logger(lambda query: seen.append(query.query))
    await updater.handle(command)
    async with pool.acquire() as only:
        await only.execute("SELECT")  # the log of a statement is written before the next one ends
    await pool.close()

    found = await look(conn, command)
    assert (found.total, found.done, len(found.refused)) == (500, 500, 100)
    assert (found.message or "").startswith("400 conversations processed\n")
    statements = seen[: seen.index("SELECT")]
    assert statements[0].startswith("BEGIN")
    assert "COMMIT;" in statements
    assert len(statements) <= 7, statements
