"""The event streams of batches, on the real servers."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp import web

from service.api import server
from service.api.app import build_app
from service.api.batch_events import EVENTS, PACE, Pace
from service.application import batch_events
from service.contracts.commands import DeliverChunk
from service.runtime.metrics import BATCH_STREAMS_OPEN
from service.runtime.notifications import NAME, BatchNotices
from service.runtime.postgres import close_pool, create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.batch_events import CHANNEL
from sql.statements import STATEMENTS
from tests.support.batches import Batches
from tests.support.event_streams import event_stream
from tests.support.institution import Institution
from tests.support.tcp_proxy import tcp_proxy
from tests.support.waiting import PATIENCE, until
from workers.deliver import Deliverer

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]
Build = Callable[..., web.Application]
Token = Callable[..., Awaitable[dict[str, str]]]

NotingGateway = Callable[..., Awaitable[aiohttp.ClientSession]]

SENDER = 1
WATCHED = STATEMENTS["watched_batches"].text
OF_THE_CLOCK = ("completion", "eta", "recipients_per_second")


@pytest.fixture
def batches(conn: asyncpg.Connection) -> Batches:
    return Batches(conn)


@pytest.fixture
async def headers(token: Token) -> dict[str, str]:
    """Of the sender's requests."""
    return await token(SENDER)


@pytest.fixture
def build(edge_settings: Settings, pool: asyncpg.Pool, broker: Publisher) -> Build:
    """A gateway with other settings or another pool, not served yet."""

    def make(pool: asyncpg.Pool = pool, **changed: object) -> web.Application:
        return build_app(Settings(**edge_settings.model_dump() | changed), pool, broker)

    return make


@pytest.fixture
def app(build: Build) -> web.Application:
    """A gateway that is not served yet."""
    return build()


@pytest.fixture
def _no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not notified is not seen in time."""
    monkeypatch.setattr(batch_events, "LONGEST", 2 * PATIENCE)


@pytest.fixture
async def listening(conn: asyncpg.Connection) -> Callable[[], Awaitable[list[int]]]:
    """The processes of the server on whose connections gateways listen in the test's database."""

    async def ask() -> list[int]:
        return [
            row["pid"]
            for row in await conn.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"
                " AND query ILIKE 'listen%'",
                NAME,
            )
        ]

    return ask


@pytest.fixture
def asked() -> list[str]:
    """Statements that the noting pool was asked."""
    return []


@pytest.fixture
async def noting_pool(settings: Settings, asked: list[str]) -> AsyncIterator[asyncpg.Pool]:
    """A gateway's pool, of one connection."""
    pool = await create_pool(settings, size=1)
    async with pool.acquire() as own:
        own.add_query_logger(lambda query: asked.append(query.query))
    yield pool
    await close_pool(pool)


@pytest.fixture
def noting_gateway(build: Build, serve: Serve, noting_pool: asyncpg.Pool) -> NotingGateway:
    """Starts a gateway with that pool, and with other settings."""

    async def start(**changed: object) -> aiohttp.ClientSession:
        return await serve(build(noting_pool, throttle_maximum=0, **changed))

    return start


@pytest.fixture
async def notified(database_url: str) -> AsyncIterator["asyncio.Queue[str]"]:
    """What is notified of batches in the test's database."""
    found: asyncio.Queue[str] = asyncio.Queue()
    conn = await asyncpg.connect(database_url)
    await conn.add_listener(CHANNEL, lambda *notice: found.put_nowait(str(notice[-1])))
    yield found
    await conn.close()


async def shown(client: aiohttp.ClientSession, headers: dict[str, str], batch_id: int) -> bytes:
    """What GET /conversations/batches/:id answers."""
    async with client.get(f"/api/v1/conversations/batches/{batch_id}", headers=headers) as response:
        assert response.status == 200
        return await response.read()


def lasting(data: bytes) -> dict[str, object]:
    """What does not change with the time alone."""
    return {name: value for name, value in orjson.loads(data).items() if name not in OF_THE_CLOCK}


@pytest.mark.usefixtures("_no_second_look")
async def test_a_stream_shows_what_polling_shows_until_the_end(
    client: aiohttp.ClientSession,
    headers: dict[str, str],
    batches: Batches,
    settings: Settings,
    pool: asyncpg.Pool,
) -> None:
    batch = await batches.accept(range(10, 16), chunk_size=2)
    deliverer = Deliverer(settings, pool)
    ids = []
    async with event_stream(client, headers, batch) as stream:
        event = await stream.next()
        for position in range(3):
            assert event is not None
            assert event.name == "progress"
            assert lasting(event.data) == lasting(await shown(client, headers, batch))
            ids.append(event.id)
            await deliverer.handle(DeliverChunk(batch_id=batch, position=position))
            event = await stream.until(delivered=2 * (position + 1))
        assert event is not None
        assert event.name == "finished"
        assert event.data == await shown(client, headers, batch)
        assert event.batch["workflow_state"] == "sent"
        assert await stream.rest() == []
    assert len({*ids, event.id}) == 4


async def test_the_id_is_that_of_the_state_and_the_present_state_comes_again(
    client: aiohttp.ClientSession, headers: dict[str, str], batches: Batches
) -> None:
    """Whatever the client says it has seen."""
    batch = await batches.accept([10], chunk_size=1)
    async with event_stream(client, headers, batch) as stream:
        first = await stream.next()
    assert first is not None
    for last in (first.id, "a-foreign-id", "\u00e9", ""):
        async with event_stream(client, headers, batch, last=last) as stream:
            again = await stream.next()
        assert again is not None
        assert (again.name, again.id) == ("progress", first.id)
    await batches.set_state(batch, "paused")
    async with event_stream(client, headers, batch, last=first.id) as stream:
        paused = await stream.next()
    assert paused is not None
    assert paused.id != first.id


async def test_who_comes_back_after_the_end_gets_it_again_and_need_not_come_a_third_time(
    client: aiohttp.ClientSession, headers: dict[str, str], batches: Batches, settings: Settings, pool: asyncpg.Pool
) -> None:
    """204 is what keeps a browser's EventSource from coming back for ever."""
    batch = await batches.accept([10], chunk_size=1)
    await Deliverer(settings, pool).handle(DeliverChunk(batch_id=batch, position=0))
    seen: list[str | None] = [None]
    for _ in range(2):
        async with event_stream(client, headers, batch, last=seen[-1]) as stream:
            (event,) = await stream.rest()
        assert event.name == "finished"
        assert event.data == await shown(client, headers, batch)
        seen.append(event.id)
    path = f"/api/v1/conversations/batches/{batch}/events"
    async with client.get(path, headers=headers | {"Last-Event-ID": str(seen[-1])}) as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_a_cancelled_batch_is_finished_when_the_chunks_in_work_are(
    client: aiohttp.ClientSession, headers: dict[str, str], batches: Batches, conn: asyncpg.Connection
) -> None:
    batch = await batches.accept([10, 11], chunk_size=1)
    async with event_stream(client, headers, batch) as stream:
        await conn.execute("UPDATE batches SET state = 'cancelled', skipped = 1 WHERE id = $1", batch)
        event = await stream.until(workflow_state="cancelled")
        assert event.name == "progress"
        await conn.execute("UPDATE batches SET delivered = 1, finished_at = now() WHERE id = $1", batch)
        assert [event.name for event in await stream.rest()] == ["finished"]


async def test_other_batches_are_not_found(
    client: aiohttp.ClientSession, token: Token, headers: dict[str, str], batches: Batches
) -> None:
    batch = await batches.accept([10], chunk_size=1)
    for who, id_ in ((await token(2), str(batch)), (headers, str(batch + 1)), (headers, "x")):
        async with client.get(f"/api/v1/conversations/batches/{id_}/events", headers=who) as response:
            assert response.status == 404
            assert (await response.json())["errors"]


async def test_who_acts_as_the_sender_watches_what_both_may_see(
    client: aiohttp.ClientSession, token: Token, institution: Institution, batches: Batches, conn: asyncpg.Connection
) -> None:
    """Not a batch of an account that the administrator does not have."""
    admin, sender = await institution.users(2)
    await institution.admin(admin)
    as_admin, batch = await token(admin), await batches.accept([10], chunk_size=1)
    await conn.execute("UPDATE batches SET sender_id = $1", sender)
    async with event_stream(client, as_admin, batch, as_user_id=str(sender)) as stream:
        assert await stream.next() is not None
    await conn.execute("UPDATE sends SET root_account_ids = '{77}'")
    path = f"/api/v1/conversations/batches/{batch}/events"
    async with client.get(path, headers=as_admin, params={"as_user_id": str(sender)}) as response:
        assert response.status == 404


async def test_head_has_no_body(client: aiohttp.ClientSession, headers: dict[str, str], batches: Batches) -> None:
    batch = await batches.accept([10], chunk_size=1)
    async with client.head(f"/api/v1/conversations/batches/{batch}/events", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")


async def test_a_proxy_that_speaks_an_older_http_gets_the_same_text(
    client: aiohttp.ClientSession, headers: dict[str, str], batches: Batches, settings: Settings, pool: asyncpg.Pool
) -> None:
    """As nginx does unless it is set up otherwise; such a stream ends with its connection."""
    batch = await batches.accept([10], chunk_size=1)
    await Deliverer(settings, pool).handle(DeliverChunk(batch_id=batch, position=0))
    assert client._base_url
    reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
    head = f"GET /api/v1/conversations/batches/{batch}/events HTTP/1.0\r\nHost: x\r\nConnection: close\r\n"
    writer.write(f"{head}Authorization: {headers['Authorization']}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        answer_head, _, text = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"chunked" not in answer_head.lower()
    assert re.fullmatch(rb"id: \w+\nevent: finished\ndata: {.*}\n\n", text), text


async def test_ids_are_strings_for_who_asks_for_them(
    client: aiohttp.ClientSession, headers: dict[str, str], batches: Batches
) -> None:
    batch = await batches.accept([10], chunk_size=1)
    asking = headers | {"Accept": "text/event-stream, application/json+canvas-string-ids"}
    async with event_stream(client, asking, batch) as stream:
        event = await stream.next()
    assert event is not None
    assert event.batch["id"] == str(batch)


async def test_a_silent_stream_has_heartbeats_and_outlasts_the_time_of_a_request(
    build: Build, serve: Serve, headers: dict[str, str], batches: Batches
) -> None:
    app = build(request_timeout=1.0)
    app[PACE] = Pace(heartbeat=0.05)
    client, batch = await serve(app), await batches.accept([10], chunk_size=1)
    loop = asyncio.get_running_loop()
    async with event_stream(client, headers, batch) as stream:
        await stream.next()
        end = (
            loop.time() + 3.0
        )  # twice and more what such a gateway has for a request, and what it lets a client be silent
        while loop.time() < end:
            await stream.heartbeat()
        await batches.set_state(batch, "paused")
        assert (await stream.until(workflow_state="paused")).name == "progress"


def test_heartbeats_come_as_often_as_promised() -> None:
    assert 0 < Pace().heartbeat < 15


async def test_an_open_stream_reserves_nothing_of_its_token_s_quota(
    build: Build, serve: Serve, headers: dict[str, str], batches: Batches
) -> None:
    """Three pre-flight costs at once would be too many."""
    client = await serve(build(throttle_maximum=250, throttle_high_water=120, throttle_outflow=0.001))
    batch = await batches.accept([10], chunk_size=1)
    async with AsyncExitStack() as stack:
        for _ in range(6):
            stream = await stack.enter_async_context(event_stream(client, headers, batch))
            await stream.next()
        await shown(client, headers, batch)


@pytest.mark.usefixtures("_no_second_look")
async def test_a_listener_that_was_cut_off_listens_again(
    client: aiohttp.ClientSession,
    headers: dict[str, str],
    batches: Batches,
    conn: asyncpg.Connection,
    listening: Callable[[], Awaitable[list[int]]],
) -> None:
    batch = await batches.accept([10], chunk_size=1)
    async with event_stream(client, headers, batch) as stream:

        async def begun() -> bool:
            return await listening() != []

        await until(begun)
        (lost,) = await listening()
        await conn.execute("SELECT pg_terminate_backend($1)", lost)

        async def anew() -> bool:
            return await listening() not in ([], [lost])

        await until(anew)
        await batches.set_state(batch, "paused")
        await stream.until(workflow_state="paused")


@pytest.mark.usefixtures("_no_second_look")
async def test_what_was_notified_before_a_listener_listens_is_looked_at_when_it_does(
    noting_gateway: NotingGateway, asked: list[str], database_url: str, headers: dict[str, str], batches: Batches
) -> None:
    """As after a restart of the database: the notification is lost."""
    there = urlsplit(database_url)
    async with tcp_proxy(there.hostname or "", there.port or 5432) as proxy:
        proxy.pause()
        behind = there._replace(netloc=there.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}").geturl()
        client = await noting_gateway(database_listen_url=behind)
        batch = await batches.accept([10], chunk_size=1)
        async with event_stream(client, headers, batch) as stream:
            assert await stream.next() is not None
            await until(lambda: WATCHED in asked)
            await batches.set_state(batch, "paused")
            proxy.go_on()
            await stream.until(workflow_state="paused")


async def test_a_change_is_seen_without_any_notification(
    noting_gateway: NotingGateway, asked: list[str], headers: dict[str, str], batches: Batches
) -> None:
    """No server listens where notifications are to come from."""
    client = await noting_gateway(database_listen_url="postgresql://user@127.0.0.1:1/none")
    batch = await batches.accept([10], chunk_size=1)
    async with event_stream(client, headers, batch) as stream:
        await stream.next()
        await until(lambda: WATCHED in asked)
        await batches.set_state(batch, "paused")
        await stream.until(workflow_state="paused")


async def test_streams_say_goodbye_when_the_gateway_stops(
    app: web.Application, headers: dict[str, str], batches: Batches
) -> None:
    """When it listens no more, so that who comes back comes to another."""
    batch = await batches.accept([10], chunk_size=1)
    runner = await server.start(app, host="127.0.0.1", port=0)
    host, port = runner.addresses[0][:2]
    async with (
        aiohttp.ClientSession(f"http://{host}:{port}") as client,
        event_stream(client, headers, batch) as stream,
    ):
        await stream.next()
        stopping = asyncio.create_task(runner.cleanup())
        assert await stream.rest() == []
        assert stream.comments == ["connect again"]
        assert stream.retry is not None
        assert 1_000 <= stream.retry < 2_000
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)


async def test_a_stream_ends_with_its_token(
    app: web.Application, serve: Serve, headers: dict[str, str], batches: Batches, conn: asyncpg.Connection
) -> None:
    """It is looked at again and again; a new request then says what is wrong with it."""
    app[PACE] = Pace(heartbeat=0.05, check=0.1)
    client, batch = await serve(app), await batches.accept([10], chunk_size=1)
    async with event_stream(client, headers, batch) as stream:
        await stream.next()
        for _ in range(5):
            await stream.heartbeat()
        await conn.execute("UPDATE access_tokens SET revoked_at = now()")
        assert await stream.rest() == []
    async with client.get(f"/api/v1/conversations/batches/{batch}/events", headers=headers) as response:
        assert response.status == 401


async def test_a_reader_that_takes_nothing_is_dropped(
    app: web.Application, serve: Serve, headers: dict[str, str], batches: Batches, conn: asyncpg.Connection
) -> None:
    app[PACE] = Pace(stuck=0.2)
    client, batch = await serve(app), await batches.accept([10], chunk_size=1)
    await conn.execute("UPDATE sends SET body = repeat('x', 16000000)")  # more than the buffers in between hold
    assert client._base_url
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (client._base_url.host, client._base_url.port))
        head = f"GET /api/v1/conversations/batches/{batch}/events HTTP/1.1\r\nHost: x\r\n"
        await loop.sock_sendall(sock, f"{head}Authorization: {headers['Authorization']}\r\n\r\n".encode())
        await until(lambda: BATCH_STREAMS_OPEN._value.get() == 1)
        await until(lambda: BATCH_STREAMS_OPEN._value.get() == 0)


async def test_a_client_that_is_gone_is_forgotten(
    app: web.Application, serve: Serve, headers: dict[str, str], batches: Batches
) -> None:
    app[PACE] = Pace(heartbeat=0.05)
    client, batch = await serve(app), await batches.accept([10], chunk_size=1)
    async with event_stream(client, headers, batch) as stream:
        await stream.next()
        assert app[EVENTS].watched == 1
    await until(lambda: app[EVENTS].watched == 0)


@pytest.mark.usefixtures("_no_second_look")
async def test_all_that_changes_at_once_is_read_in_one_statement(
    noting_gateway: NotingGateway, asked: list[str], headers: dict[str, str], batches: Batches
) -> None:
    """And one connection of the database is enough for all of it, beside the one that listens."""
    client = await noting_gateway()
    sent = [await batches.accept([10 + n], chunk_size=1) for n in range(10)]
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(event_stream(client, headers, batch)) for batch in sent * 2]
        for state in ("paused", "cancelled"):
            asked.clear()
            await batches.set_states(state)
            for stream in streams:
                await stream.until(workflow_state=state)
    # Of one transaction may come in two parts, and the first look of a stream that was opened last may be a third.
    assert 1 <= asked.count(WATCHED) <= 3
    assert asked.count(STATEMENTS["message_details"].text) == len(sent)


async def test_changes_that_come_fast_are_notified_together(
    noting_pool: asyncpg.Pool, asked: list[str], notified: "asyncio.Queue[str]"
) -> None:
    notices = BatchNotices(noting_pool)
    for _ in range(100):
        for batch_id in range(1, 51):
            notices.changed(batch_id)
    found = [await asyncio.wait_for(notified.get(), PATIENCE) for _ in range(50)]
    assert sorted(map(int, found)) == list(range(1, 51))
    assert asked.count(STATEMENTS["notify_of_batches"].text) == 1


async def test_moves_notify_in_their_transaction_and_deliveries_do_not(
    batches: Batches, conn: asyncpg.Connection, notified: "asyncio.Queue[str]"
) -> None:
    """Those would take turns at the commit."""
    delivered, moved = await batches.accept([10, 11], chunk_size=1), await batches.accept([10], chunk_size=1)
    for state in ("sending", "sending", "sent"):
        await conn.execute("UPDATE batches SET state = $2, send_at = send_at WHERE id = $1", delivered, state)
    for state in ("paused", "sending", "cancelled"):
        await conn.execute("UPDATE batches SET state = $2 WHERE id = $1", moved, state)
    found = [await asyncio.wait_for(notified.get(), PATIENCE) for _ in range(3)]
    assert found == [str(moved)] * 3
    assert notified.empty()
