"""Reads from a streaming replica: all that was answered to anybody is seen, however far the replica is behind."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from yarl import URL

from deploy.postgres import PrivatePostgres
from service.api import server as http
from service.api.app import build_app
from service.api.reading import reading
from service.api.responses import respond
from service.api.routing import register
from service.api.throttle import finish_settling
from service.domain.tokens import hash_token
from service.runtime import replica
from service.runtime.postgres import close_pool, create_pool
from service.runtime.settings import Settings
from sql.authentication import find_caller
from sql.replicas import flushed_position, replayed_position
from sql.statements import STATEMENTS
from tests.support.databases import with_database, with_port
from tests.support.gateway import publishing_nowhere
from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.private_servers import kill, own_postgres
from tests.support.school import School, make_school
from tests.support.standby import standby_of
from tests.support.tcp_proxy import tcp_proxy
from tests.support.waiting import PATIENCE, until

NAMES = {statement.text: name for name, statement in STATEMENTS.items()}
OF_EACH_REQUEST = {"find_caller", "change_bucket"}
PROBES = {"replayed_position"}


@dataclass(frozen=True)
class Pair:
    """A primary, and a standby that streams from it."""

    primary: PrivatePostgres
    standby: PrivatePostgres


@dataclass
class Gateway:
    """One of several; what each of its servers was asked, by the names of the statements."""

    session: aiohttp.ClientSession
    app: web.Application
    of_primary: list[str] = field(default_factory=list)
    of_replica: list[str] = field(default_factory=list)

    async def degraded(self) -> list[str]:
        """What /readyz says; it is 200 in any case."""
        async with self.session.get("/readyz") as answer:
            assert answer.status == 200
            found: list[str] = (await answer.json()).get("degraded", [])
            return found


@dataclass(frozen=True)
class There:
    """Two gateways on the same servers, and a course."""

    one: Gateway
    other: Gateway
    institution: Institution
    school: School
    conn: asyncpg.Connection
    standby: asyncpg.Connection

    async def headers(self, user_id: int) -> dict[str, str]:
        """With a token of the user's."""
        await self.conn.execute(
            "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            hash_token(_token(user_id)),
            user_id,
        )
        return {"Authorization": f"Bearer {_token(user_id)}"}

    async def get(self, gateway: Gateway, user_id: int, path: str) -> Any:
        """The JSON of a 200."""
        return await call(gateway.session, await self.headers(user_id), "GET", path)

    async def post(self, gateway: Gateway, user_id: int, status: int, **message: Any) -> Any:
        """A new message."""
        headers = await self.headers(user_id)
        return await call(gateway.session, headers, "POST", "/conversations", status=status, json=message)

    async def to_all(self, subject: str) -> None:
        """The teacher writes to the course; there is no worker."""
        await self.post(
            self.one,
            self.school.teacher,
            202,
            recipients=[f"course_{self.school.course}_students"],
            subject=subject,
            body=subject,
            mode="async",
            group_conversation=True,
            bulk_message=True,
            context_code=f"course_{self.school.course}",
        )

    async def everything_is_shown(self) -> None:
        """Returns when the replica has what is flushed by now."""
        position = await flushed_position(self.conn)

        async def has_it() -> bool:
            shown = await replayed_position(self.standby)
            return shown is not None and shown.bytes >= position.bytes

        await until(has_it)

    @asynccontextmanager
    async def flushing_late(self) -> AsyncIterator[None]:
        """What is committed without waiting for the disk comes there late."""
        await self._set_wal_writer_delay("'10s'")
        try:
            yield
        finally:
            await self._set_wal_writer_delay("DEFAULT")

    async def _set_wal_writer_delay(self, value: str) -> None:
        await self.conn.execute(f"ALTER SYSTEM SET wal_writer_delay = {value}")
        await self.conn.execute("SELECT pg_reload_conf()")

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[None]:
        """The replica gets everything and shows nothing new."""
        await self.standby.execute("SELECT pg_wal_replay_pause()")
        await until(lambda: self.standby.fetchval("SELECT pg_get_wal_replay_pause_state() = 'paused'"))
        try:
            yield
        finally:
            await self.standby.execute("SELECT pg_wal_replay_resume()")

    async def replica_is_read(self, gateway: Gateway) -> None:
        """Returns when it is."""

        async def is_read() -> bool:
            return "replica" not in await gateway.degraded()

        await until(is_read)


def _token(user_id: int) -> str:
    return f"token-of-{user_id}"


@pytest.fixture(scope="module")
async def pair() -> AsyncIterator[Pair]:
    """Of all tests here."""
    async with own_postgres() as primary, standby_of(primary) as standby:
        yield Pair(primary, standby)


async def breaks_on_a_replica(request: web.Request) -> web.Response:
    """A statement during which a replica ends the connection, as it does when it restarts."""
    async with reading(request) as conn:
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid()) WHERE pg_is_in_recovery()")
    return respond(request, {"read": True})


@asynccontextmanager
async def gateway_on(settings: Settings) -> AsyncIterator[Gateway]:
    """Its connections note what they are asked."""
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings, size=1, within=settings.request_timeout)
        stack.push_async_callback(close_pool, pool)
        url = str(settings.database_read_url)
        replica_pool = await create_pool(
            settings, url=url, size=1, within=settings.request_timeout * replica.REPLICA_SHARE
        )
        stack.push_async_callback(close_pool, replica_pool)
        broker = await stack.enter_async_context(publishing_nowhere(settings))
        app = build_app(settings, pool, broker, replica_pool=replica_pool)
        register(app, [web.get("/api/v1/breaks", breaks_on_a_replica)])
        runner = await http.start(app, host="127.0.0.1", port=0)
        stack.push_async_callback(runner.cleanup)
        session = aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}")
        stack.push_async_callback(session.close)
        gateway = Gateway(session, app)
        for each, noted in ((pool, gateway.of_primary), (replica_pool, gateway.of_replica)):
            async with each.acquire() as conn:
                conn.add_query_logger(_note(noted))
        yield gateway


def _note(noted: list[str]) -> Callable[[Any], None]:
    def note(query: Any) -> None:
        if query.query in NAMES:
            noted.append(NAMES[query.query])

    return note


async def _database(pair: Pair) -> str:
    """A migrated one of the test's own, on both."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    primary, standby = (with_database(server.url, "postgres") for server in (pair.primary, pair.standby))
    async with connected(primary) as conn:
        await conn.execute(f"CREATE DATABASE {name} TEMPLATE clarion")
    async with connected(standby) as conn:
        await until(lambda: conn.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name))
    return name


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a moment."""
    conn = await asyncpg.connect(url)
    try:
        yield conn
    finally:
        await conn.close()


@asynccontextmanager
async def installed(settings: Settings, pair: Pair, *, by_way_of: int | None = None) -> AsyncIterator[There]:
    """``by_way_of``: the port of a proxy before the standby."""
    name = await _database(pair)
    url, read_url = (with_database(server.url, name) for server in (pair.primary, pair.standby))
    reached = read_url if by_way_of is None else with_port(read_url, by_way_of)
    settings = settings.model_copy(update={"database_url": url, "database_read_url": reached, "chunk_size": 100})
    async with AsyncExitStack() as stack:
        conn = await asyncpg.connect(url)
        stack.push_async_callback(conn.close)
        standby = await asyncpg.connect(read_url)
        stack.push_async_callback(standby.close)
        institution = Institution(conn)
        school = await make_school(institution, 3)
        one = await stack.enter_async_context(gateway_on(settings))
        other = await stack.enter_async_context(gateway_on(settings))
        yield There(one, other, institution, school, conn, standby)


@pytest.fixture
async def there(settings: Settings, pair: Pair) -> AsyncIterator[There]:
    """A course of three on the shared servers."""
    async with installed(settings, pair) as made:
        yield made


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a read waits until the replica has what is on its way."""
    monkeypatch.setattr(replica, "PATIENCE", PATIENCE)


@pytest.mark.usefixtures("patient")
async def test_lists_shows_searches_counts_and_exports_go_to_the_replica(there: There) -> None:
    teacher, gateway = there.school.teacher, there.one
    await there.to_all("Hello")
    (made,) = await there.post(gateway, teacher, 201, recipients=[str(there.school.students[0])], body="Hi")
    (batch,) = await there.get(gateway, teacher, "/conversations/batches?state[]=created")
    await there.get(gateway, there.school.students[0], "/conversations")

    for path in (
        "/conversations?scope=sent",
        f"/conversations/{made['id']}?auto_mark_as_read=0",
        "/conversations/unread_count",
        "/search/recipients?search=Student",
        "/conversations/batches",
        f"/conversations/batches/{batch['id']}",
        f"/conversations/batches/{batch['id']}/recipients",
        "/users/self",
    ):
        gateway.of_primary.clear()
        gateway.of_replica.clear()
        await there.get(gateway, teacher, path)
        await finish_settling(gateway.app)
        assert set(gateway.of_primary) == OF_EACH_REQUEST, path
        assert set(gateway.of_replica) > PROBES, path

    headers = await there.headers(teacher) | {"Accept": "text/csv"}
    gateway.of_replica.clear()
    async with gateway.session.get(
        f"/api/v1/conversations/batches/{batch['id']}/recipients", headers=headers
    ) as answer:
        assert len((await answer.text()).splitlines()) == 1 + len(there.school.students)
    assert gateway.of_replica.count("list_recipients") == 1


async def test_who_has_written_sees_it_through_any_gateway_while_the_replica_stands_still(there: There) -> None:
    teacher, (student, *_) = there.school.teacher, there.school.students
    async with there.standing_still():
        (sent,) = await there.post(there.one, teacher, 201, recipients=[str(student)], body="Now")
        (listed,) = await there.get(there.other, teacher, "/conversations?scope=sent")
        assert listed["id"] == sent["id"]
        assert await there.get(there.other, student, "/conversations/unread_count") == {"unread_count": "1"}
        shown = await there.get(there.one, student, f"/conversations/{sent['id']}")
        assert [message["body"] for message in shown["messages"]] == ["Now"]
        assert await there.get(there.other, student, "/conversations/unread_count") == {"unread_count": "0"}
        assert "replica" in await there.other.degraded()

    await there.replica_is_read(there.other)


@pytest.mark.usefixtures("patient")
async def test_what_a_reader_marks_as_read_is_read_on_the_replica(there: There) -> None:
    """That is written without waiting for the disk where there is no replica; a replica gets only what is there."""
    teacher, (student, *_) = there.school.teacher, there.school.students
    await there.get(there.other, student, "/users/self")  # its token is not noted again for a minute
    async with there.flushing_late():
        (sent,) = await there.post(there.one, teacher, 201, recipients=[str(student)], body="Now")
        await there.get(there.one, student, f"/conversations/{sent['id']}")
        there.other.of_replica.clear()
        assert await there.get(there.other, student, "/conversations/unread_count") == {"unread_count": "0"}

    assert "unread_count" in there.other.of_replica


async def test_what_was_delivered_for_one_reader_is_seen_by_the_next(there: There) -> None:
    """CONTRACT 3.3: by then no chunk waits any more that would say so."""
    first, second, _ = there.school.students
    async with there.standing_still():
        await there.to_all("Seen")
        for gateway, student in ((there.one, first), (there.other, second), (there.one, second)):
            (listed,) = await there.get(gateway, student, "/conversations")
            assert listed["subject"] == "Seen"

    assert await there.conn.fetchval("SELECT count(*) FROM chunks WHERE state = 'pending'") == 0


async def test_what_a_read_has_delivered_is_in_its_answer(settings: Settings, pair: Pair) -> None:
    """Also when the replica had all that there was before the delivery."""
    async with installed(settings.model_copy(update={"throttle_maximum": 0}), pair) as there:
        student = there.school.students[0]
        assert await there.get(there.one, student, "/conversations") == []  # its token is not noted again for a minute
        await there.to_all("Seen")
        await there.everything_is_shown()
        async with there.standing_still():
            (listed,) = await there.get(there.one, student, "/conversations")

        assert listed["subject"] == "Seen"


async def test_the_log_does_not_end_in_the_midst_of_a_record_for_long(there: There) -> None:
    """It is flushed by whole pages where no commit waits; a replica would not have what the next read asks for."""
    page: int = await there.conn.fetchval("SELECT current_setting('wal_block_size')::integer")
    await there.conn.execute("CREATE TABLE filler (text text)")
    await there.conn.execute("SET synchronous_commit = off")

    async def ends_with_a_page() -> bool:
        await there.conn.execute("INSERT INTO filler SELECT repeat('x', 1900) FROM generate_series(1, 5)")
        return (await flushed_position(there.conn)).bytes % page == 0

    await until(ends_with_a_page)
    await there.headers(there.school.teacher)
    await find_caller(
        there.conn, hash_token(_token(there.school.teacher)), reserving=1.0, longest=10.0, replicated=True
    )

    assert (await flushed_position(there.conn)).bytes % page


async def test_acting_as_another_is_no_way_around(there: There) -> None:
    teacher, (student, *_) = there.school.teacher, there.school.students
    await there.institution.account(name="Root")
    admin = await there.institution.user("Admin")
    await there.institution.admin(admin)
    async with there.standing_still():
        await there.to_all("Seen")
        for gateway in (there.one, there.other):
            (listed,) = await there.get(gateway, admin, f"/conversations?as_user_id={student}")
            assert listed["subject"] == "Seen"
        (batch,) = await there.get(there.other, admin, f"/conversations/batches?state[]=sent&as_user_id={teacher}")
        assert batch["delivered"] == len(there.school.students)


async def test_what_a_replica_breaks_off_is_read_from_the_primary(there: There) -> None:
    teacher = there.school.teacher
    await there.replica_is_read(there.one)

    assert await there.get(there.one, teacher, "/breaks") == {"read": True}


async def test_no_request_fails_while_the_replica_is_silent_or_gone(
    settings: Settings, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "SILENCE", 0.2)
    at = URL(pair.standby.url)
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(tcp_proxy("127.0.0.1", at.port or 0))
        there = await stack.enter_async_context(installed(settings, pair, by_way_of=proxy.port))
        teacher, (student, *_) = there.school.teacher, there.school.students
        await there.post(there.one, teacher, 201, recipients=[str(student)], body="Hi")

        async def read() -> None:
            headers, path = await there.headers(teacher), "/conversations?scope=sent"
            gateways = (there.one, there.other) * 5
            answers = await asyncio.gather(*(call(each.session, headers, "GET", path) for each in gateways))
            assert {len(listed) for listed in answers} == {1}

        await there.replica_is_read(there.one)
        proxy.pause()
        await read()
        assert "replica" in await there.one.degraded()
        proxy.go_on()
        await there.replica_is_read(there.one)
        await proxy.stop()
        await read()
        assert "replica" in await there.one.degraded()


async def test_a_server_that_follows_no_primary_is_no_replica(settings: Settings, pair: Pair) -> None:
    """As one that was promoted: whatever it has, the primary's log says nothing of it."""
    async with installed(settings, Pair(pair.primary, pair.primary)) as there:
        teacher, (student, *_) = there.school.teacher, there.school.students
        await there.post(there.one, teacher, 201, recipients=[str(student)], body="Hi")

        assert len(await there.get(there.one, teacher, "/conversations?scope=sent")) == 1
        assert set(there.one.of_replica) <= PROBES
        async with there.one.session.get("/readyz") as answer:
            assert (await answer.json())["replica"] == "it follows no primary"


async def test_what_another_primary_has_left_behind_is_no_replica_of_the_present_one() -> None:
    """It has more of the log than the one that was promoted, and nothing of what was answered since."""
    async with own_postgres() as old, standby_of(old) as ahead, standby_of(old) as new:
        await kill(new)
        conn, shown = await asyncpg.connect(old.url), await asyncpg.connect(ahead.url)
        await conn.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        lost = await flushed_position(conn)

        async def has_it() -> bool:
            position = await replayed_position(shown)
            return position is not None and position.bytes >= lost.bytes

        await until(has_it)
        await kill(old)
        await conn.close()
        await new.ensure()
        conn = await asyncpg.connect(new.url)
        await conn.execute("SELECT pg_promote()")
        await conn.execute("CREATE TABLE answered ()")
        position = await flushed_position(conn)
        assert position.bytes < lost.bytes

        async with asyncpg.create_pool(ahead.url, min_size=1) as pool:
            assert await replica.Replica(pool).look(position) == "it is on timeline 1, the primary on 2"
            assert await replica.Replica(pool).look(lost) is None
        await conn.close()
        await shown.close()
