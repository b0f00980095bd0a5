"""Migrating: forward only, once each, from many hosts at once, beside another release."""

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest

from service.runtime.settings import Settings
from sql import migrate
from tests.support.batches import Batches
from tests.support.commands import clarion
from tests.support.databases import empty_database
from tests.support.processes import Client, installation
from tests.support.waiting import until

# What the databases hold that were made before the first release.
_BEFORE_THE_FIRST_RELEASE = (
    "0001_directory", "0002_conversations", "0003_batches", "0004_access", "0005_listings", "0006_address_book",
    "0007_pending_replies", "0008_progress", "0009_throttle", "0010_search", "0011_merging", "0012_outbox",
    "0013_requests", "0014_traceparent", "0015_search_rosters", "0016_retries", "0017_members_of_a_course",
    "0018_root_account_uuid", "0019_codes_in_a_chunk",
)  # fmt: skip


@pytest.fixture(name="empty_database")
async def _empty_database() -> AsyncIterator[str]:
    """DSN of a database without any table."""
    async with empty_database() as url:
        yield url


@pytest.fixture
async def empty(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database without any table."""
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()


class Release:
    """What one release brings to a database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, conn: asyncpg.Connection) -> None:
        self._monkeypatch = monkeypatch
        self._conn = conn

    async def migrates(self, migrations: dict[str, str], definitions: dict[str, str], revision: int) -> list[str]:
        """What it applied."""
        self.becomes(migrations, definitions, revision)
        return await migrate.migrate(self._conn)

    def becomes(self, migrations: dict[str, str], definitions: dict[str, str], revision: int) -> None:
        """The code is that release's, the database what it was."""
        self._monkeypatch.setattr(migrate, "available", lambda: sorted(migrations.items()))
        self._monkeypatch.setattr(migrate, "definitions", lambda: sorted(definitions.items()))
        self._monkeypatch.setattr(migrate, "REVISION", revision)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, empty: asyncpg.Connection) -> Release:
    """Releases of the test's own making, on a database without any table."""
    return Release(monkeypatch, empty)


def answering(number: int) -> str:
    """The text of a view that shows this number."""
    return f"CREATE OR REPLACE VIEW answers AS SELECT {number} AS answer"


async def test_many_hosts_migrate_at_once(empty_database: str) -> None:
    """Each migration, and each file of definitions, is applied by exactly one of them, and all see the end."""

    async def host() -> list[str]:
        conn = await asyncpg.connect(empty_database)
        try:
            return await migrate.migrate(conn)
        finally:
            await conn.close()

    done = await asyncio.gather(*(host() for _ in range(5)))

    everything = [version for version, _ in migrate.available()]
    everything += [f"schema/{file}" for file, _ in migrate.definitions()]
    assert sorted(version for applied in done for version in applied) == everything
    assert await host() == []


async def test_no_migration_adds_a_default_where_functions_take_the_rows(conn: asyncpg.Connection) -> None:
    """PostgreSQL 17 refuses it while such a function is there, which one of the release before is."""
    rows = await conn.fetch(
        "SELECT DISTINCT c.relname AS name FROM pg_proc p JOIN pg_class c ON c.reltype = ANY (p.proargtypes)"
        " WHERE p.pronamespace = current_schema()::regnamespace"
    )
    tables = "|".join(row["name"] for row in rows)
    assert "batches" in tables

    adding = re.compile(rf"ALTER TABLE (?:{tables})\s+ADD COLUMN[^;]*\bDEFAULT\b")
    # Those up to 012 come before any function: a database that lacks one of them is no release's.
    later = [text for version, text in migrate.available() if version[:3] > "012"]

    assert [found for text in later for found in adding.findall(text)] == []


async def test_a_failed_migration_leaves_nothing(release: Release, empty: asyncpg.Connection) -> None:
    """It is one transaction with its mark; what should come after it does not."""
    broken = {"001_fine": "CREATE TABLE fine ()", "002_broken": "CREATE TABLE half (); SELECT 1/0"}
    with pytest.raises(asyncpg.DivisionByZeroError):
        await release.migrates(broken, {"01_answers": answering(1)}, 1)
    assert await migrate.applied(empty) == {"001_fine"}
    assert await empty.fetchval("SELECT to_regclass('half')") is None
    assert await empty.fetchval("SELECT to_regclass('answers')") is None


async def test_definitions_are_made_all_or_none(release: Release, empty: asyncpg.Connection) -> None:
    """They call each other."""
    await release.migrates({}, {"01_answers": answering(1)}, 1)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await release.migrates({}, {"01_answers": answering(2), "02_broken": "SELECT 1/0"}, 1)
    assert await empty.fetchval("SELECT answer FROM answers") == 1


async def test_a_changed_definition_is_made_anew_and_no_other(release: Release, empty: asyncpg.Connection) -> None:
    """Whether its release raised the revision or is not finished yet; and taken back as well."""
    once = "CREATE TABLE once ()"  # fails when it is applied a second time
    applied = [
        await release.migrates({}, {"01_once": once, "02_answers": answering(number)}, revision)
        for number, revision in ((1, 1), (1, 1), (2, 1), (1, 2), (1, 3))
    ]
    assert applied == [["schema/01_once", "schema/02_answers"], [], ["schema/02_answers"], ["schema/02_answers"], []]
    assert await empty.fetchval("SELECT answer FROM answers") == 1


async def test_an_older_release_leaves_a_newer_one_in_peace(release: Release, empty: asyncpg.Connection) -> None:
    """Two releases share a database while one takes the place of the other, and both may migrate at any time."""
    older = {"001_first": "CREATE TABLE first ()"}
    newer = {**older, "002_second": "CREATE TABLE second ()"}
    await release.migrates(older, {"01_answers": answering(1)}, 1)
    wider = answering(2) + ", 'new' AS column_at_the_end"
    assert await release.migrates(newer, {"01_answers": wider}, 2) == ["002_second", "schema/01_answers"]

    assert await release.migrates(older, {"01_answers": answering(1)}, 1) == []

    assert await migrate.applied(empty) == {"001_first", "002_second"}
    assert [tuple(row) for row in await empty.fetch("SELECT * FROM answers")] == [(2, "new")]


async def test_a_second_migration_waits_for_no_lock(conn: asyncpg.Connection, database_url: str) -> None:
    """When nothing has changed it touches no table or view that is in use."""
    async with conn.transaction():
        await conn.execute("LOCK TABLE users, enrollments, enrollment_standings, listings")
        second = await asyncpg.connect(database_url, server_settings={"lock_timeout": "1"})
        assert await migrate.migrate(second) == []
        await second.close()


@pytest.mark.parametrize("versions", [_BEFORE_THE_FIRST_RELEASE, _BEFORE_THE_FIRST_RELEASE[:1], ("20120101000000",)])
async def test_a_database_with_other_tables_is_refused_unharmed(
    empty_database: str, empty: asyncpg.Connection, versions: tuple[str, ...]
) -> None:
    """One made before the first release, whatever it has come to, or one of another application."""
    await empty.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY); CREATE TABLE users (id bigint)")
    await empty.executemany("INSERT INTO schema_migrations VALUES ($1)", [(version,) for version in versions])
    await empty.execute("INSERT INTO users VALUES (7)")

    done = await clarion(Settings(database_url=empty_database, amqp_url="amqp://localhost/"), "migrate")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: this database has other tables than this release's")
    assert done.err.endswith("migrate a new database, or go on with the release that made this one\n")
    assert done.err.count("\n") == 1
    tables = await empty.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'"
    )
    assert {row["relname"] for row in tables} == {"schema_migrations", "users"}
    assert await migrate.applied(empty) == set(versions)
    assert await empty.fetchval("SELECT sum(id) FROM users") == 7


async def test_what_is_missing_is_named_until_it_is_there(release: Release, empty: asyncpg.Connection) -> None:
    """Nothing of it, a part, an older text, all; and what a newer release has made of it is enough."""
    await release.migrates({"001_first": "CREATE TABLE first ()"}, {"01_answers": answering(1)}, 1)
    assert await migrate.missing(empty) == []
    release.becomes(
        {"001_first": "CREATE TABLE first ()", "002_second": "CREATE TABLE second ()"},
        {"01_answers": answering(2), "02_more": "SELECT 1"},
        2,
    )
    assert await migrate.missing(empty) == ["002_second", "schema/01_answers", "schema/02_more"]
    await migrate.migrate(empty)
    assert await migrate.missing(empty) == []
    release.becomes({"001_first": "CREATE TABLE first ()"}, {"01_answers": answering(1)}, 1)
    assert await migrate.missing(empty) == []


async def test_without_any_table_everything_is_missing(empty: asyncpg.Connection) -> None:
    everything = [version for version, _ in migrate.available()]
    assert await migrate.missing(empty) == everything + [f"schema/{file}" for file, _ in migrate.definitions()]


async def test_a_migration_that_finds_its_table_in_use_lets_others_pass_and_comes_again(
    release: Release, empty: asyncpg.Connection, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold up all readers who come behind it for as long as the one before it takes."""
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr(migrate, "PAUSE", 0.01)
    await release.migrates({"001_first": "CREATE TABLE first ()"}, {}, 1)
    both = {"001_first": "CREATE TABLE first ()", "002_wider": "ALTER TABLE first ADD COLUMN more bigint"}
    first, second = [await asyncpg.connect(empty_database) for _ in range(2)]
    reading = first.transaction()
    await reading.start()
    await first.execute("SELECT FROM first")
    migrating = asyncio.create_task(release.migrates(both, {}, 1))

    async def waits() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'first'::regclass"
        return bool(await second.fetchval(waiting))

    await until(waits)

    assert await second.fetch("SELECT FROM first") == []
    assert not migrating.done()
    await reading.rollback()

    assert await migrating == ["002_wider"]
    await first.close()
    await second.close()


@pytest.mark.parametrize("command", [("token", "create", "--user", "1"), ("directory", "load", "-")])
async def test_a_command_on_a_database_without_the_schema_says_what_helps(
    empty_database: str, command: tuple[str, ...]
) -> None:
    done = await clarion(Settings(database_url=empty_database, amqp_url="amqp://localhost/"), *command)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: the database lacks 001_directory and ")
    assert done.err.endswith(" more: run clarion migrate\n")


def elsewhere(settings: Settings, database_url: str) -> Settings:
    """The same on another database."""
    return Settings(database_url=database_url, amqp_url=settings.amqp_url, amqp_prefix=settings.amqp_prefix)


async def test_a_gateway_waits_for_the_schema_and_says_so(empty_database: str, settings: Settings) -> None:
    """It is up meanwhile, answers that it is of no use yet, and begins without being started again."""
    async with installation(elsewhere(settings, empty_database)) as running, aiohttp.ClientSession() as session:
        process = await running.start("api")
        await process.logged("waiting_for_schema")
        await process.logged("api_started")
        teacher = Client(session, running.url, "token")
        assert (await teacher.call("GET", "/conversations"))[0] == 503

        migrating = await asyncpg.connect(empty_database)
        await migrate.migrate(migrating)
        await migrating.close()

        assert (await teacher.call("GET", "/conversations"))[0] == 401
        await process.stop()


async def test_a_worker_waits_for_the_schema_and_says_so(empty_database: str, settings: Settings) -> None:
    async with installation(elsewhere(settings, empty_database)) as running:
        process = await running.start("worker", "--only", "plan")
        await process.logged("waiting_for_schema")
        await process.logged("sweep_failed")

        migrating = await asyncpg.connect(empty_database)
        await migrate.migrate(migrating)
        batch = await Batches(migrating).accept(range(10, 20), chunk_size=5)

        async def planned() -> bool:
            return bool(await migrating.fetchval("SELECT min(due_at) > now() FROM chunks WHERE batch_id = $1", batch))

        await until(planned)
        await migrating.close()
        await process.stop()
