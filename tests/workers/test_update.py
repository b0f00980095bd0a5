"""How a commanded batch update ends (workers/update.py)."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.application import batch_updating
from service.contracts.commands import UpdateConversations
from service.domain.batch_updates import ProgressState
from service.domain.views import Event
from service.runtime.broker import Publisher
from service.runtime.settings import Settings
from sql import progress as rows
from sql.progress import Progress
from tests.institution import Institution
from tests.thread import Threads
from tests.views import view
from workers.update import Updater
from workers.verdict import Discard, Done


@pytest.fixture
def updater(settings: Settings, pool: asyncpg.Pool) -> Updater:
    """Its publisher is not connected: handling needs no broker."""
    return Updater(settings, pool, Publisher(settings, "test"))


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(2)


@pytest.fixture
async def unstarrable(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """A database that lets nobody star anything, for reasons of its own."""
    await conn.execute("ALTER TABLE participants ADD CONSTRAINT no_stars CHECK (NOT starred)")
    yield
    await conn.execute("ALTER TABLE participants DROP CONSTRAINT no_stars")


async def accept(conn: asyncpg.Connection, user: int, ids: list[int], event: Event) -> UpdateConversations:
    progress = await batch_updating.accept(conn, user, [str(id_) for id_ in ids], event)
    return UpdateConversations(progress_id=progress.id)


async def look(conn: asyncpg.Connection, command: UpdateConversations) -> Progress:
    found = await rows.find_progress(conn, command.progress_id)
    assert found is not None
    return found


async def test_one_command_does_all_slices(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = [await threads.private(ann, me) for _ in range(9)]
    command = await accept(conn, me, made, Event.ARCHIVE)

    assert await updater.handle(command) == Done()

    assert (await look(conn, command)).message == "9 conversations processed"
    assert all([(await view(conn, m, me))["archived"] for m in made])


async def test_a_command_that_comes_twice_or_late_does_no_harm(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    done, cancelled = await accept(conn, me, [made], Event.STAR), await accept(conn, me, [made], Event.ARCHIVE)
    await updater.handle(done)
    await batch_updating.cancel(conn, me, cancelled.progress_id, None)
    await threads.update(made, me, starred=False)

    assert [await updater.handle(command) for command in (done, cancelled)] == [Done(), Done()]

    after = await view(conn, made, me)
    assert (after["starred"], after["archived"]) == (False, False)
    assert (await look(conn, cancelled)).state is ProgressState.FAILED


async def test_a_command_for_nothing_goes_to_the_dead_letters(updater: Updater) -> None:
    assert await updater.handle(UpdateConversations(progress_id=12)) == Discard("no such progress")


@pytest.mark.usefixtures("unstarrable")
async def test_what_cannot_be_done_fails_with_the_reason(
    conn: asyncpg.Connection, threads: Threads, people: list[int], updater: Updater
) -> None:
    me, ann = people
    made = await threads.private(ann, me)
    command = await accept(conn, me, [12, 13, 14, 15, made], Event.STAR)

    verdict = await updater.handle(command)

    found = await look(conn, command)
    assert isinstance(verdict, Discard)
    assert "no_stars" in verdict.reason
    assert (found.state, found.done) == (ProgressState.FAILED, 4)
    assert "no_stars" in (found.message or "")
