"""Throttling: serial clients never notice it, parallel ones meet a plain text and nothing else."""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api import server
from service.api.app import build_app
from service.api.metering import METER
from service.api.responses import respond
from service.api.routing import register
from service.api.throttle import Reservation
from service.domain.leaky_bucket import LeakyBucket
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.authentication import find_caller
from sql.throttle import change_bucket
from tests.support.institution import Institution
from tests.support.waiting import until

Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]
Token = Callable[..., Awaitable[dict[str, str]]]

UNREAD = "/api/v1/conversations/unread_count"
CANVAS = LeakyBucket(maximum=800, high_water=600, outflow=10, preflight=50)


class Gate:
    """A route whose requests stay open until they are let go, at a cost of one's choice."""

    def __init__(self, cost: float = 0.0) -> None:
        self.opened = asyncio.Event()
        self.inside = asyncio.Semaphore(0)
        self.cost = cost
        self.routes = [web.get("/api/v1/gate", self._wait), web.get("/api/v1/stream", self._stream)]

    async def _wait(self, request: web.Request) -> web.Response:
        self.inside.release()
        await self.opened.wait()
        request[METER].database += self.cost
        return respond(request, {})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await self.opened.wait()
        return response

    async def filled(self, requests: int) -> None:
        """Returns when so many requests are inside."""
        for _ in range(requests):
            await self.inside.acquire()


@pytest.fixture
def gateway(
    edge_settings: Settings, pool: asyncpg.Pool, broker: Publisher, serve: Serve
) -> Callable[..., Awaitable[aiohttp.ClientSession]]:
    """Starts one replica with these settings and the gate's routes."""

    async def start(gate: Gate | None = None, **settings: Any) -> aiohttp.ClientSession:
        app = build_app(edge_settings.model_copy(update=settings), pool, broker)
        register(app, [] if gate is None else gate.routes)
        return await serve(app)

    return start


Gateway = Callable[..., Awaitable[aiohttp.ClientSession]]


async def status_read(request: Awaitable[aiohttp.ClientResponse]) -> int:
    """The status of an answer that was read: one left unread holds its connection until it is collected."""
    async with await request as response:
        await response.read()
        return response.status


async def test_a_serial_client_is_not_throttled(gateway: Gateway, institution: Institution, token: Token) -> None:
    client, headers = await gateway(), await token(await institution.user())

    for _ in range(60):
        async with client.get(UNREAD, headers=headers) as response:
            assert response.status == 200
            assert float(response.headers["X-Rate-Limit-Remaining"]) > 590
            assert float(response.headers["X-Request-Cost"]) > 0


async def throttled(client: aiohttp.ClientSession) -> float:
    """What the metric says; all replicas of this process count in it."""
    async with client.get("/metrics") as response:
        text = await response.text()
    (found,) = re.findall(r"^clarion_http_requests_throttled_total (\S+)$", text, re.MULTILINE)
    return float(found)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (429, "429 Too Many Requests (Rate Limit Exceeded)\n"),
        (403, "403 Forbidden (Rate Limit Exceeded)\n"),
    ],
)
async def test_over_the_mark(gateway: Gateway, institution: Institution, token: Token, status: int, text: str) -> None:
    """Twelve reservations of 50, some of it drained, fit below 600; the next is turned away until they are back."""
    gate = Gate()
    client, headers = await gateway(gate, throttle_status=status), await token(await institution.user())
    before = await throttled(client)
    held = [asyncio.create_task(client.get("/api/v1/gate", headers=headers)) for _ in range(12)]
    await gate.filled(12)

    async with client.get(UNREAD, headers=headers) as response:
        assert (response.status, await response.text()) == (status, text)
        assert response.content_type == "text/plain"
        assert response.headers["X-Rate-Limit-Remaining"] == "0.0"
        assert "X-Request-Cost" not in response.headers
        # Twelve drained a little and the thirteenth are 650 at most: 5 seconds, at 10 a second, until 600.
        assert response.headers.get("Retry-After") == (None if status == 403 else "5")
        assert "X-Request-Context-Id" in response.headers
    assert await throttled(client) == before + 1

    gate.opened.set()
    assert {await status_read(task) for task in held} == {200}
    async with client.get(UNREAD, headers=headers) as response:
        assert response.status == 200
        assert float(response.headers["X-Rate-Limit-Remaining"]) > 590


async def test_who_is_turned_away_pays_nothing(
    gateway: Gateway, institution: Institution, token: Token, conn: asyncpg.Connection
) -> None:
    """One reservation is over the mark here, and the bucket would take minutes to lose what a request costs."""
    client = await gateway(throttle_maximum=100, throttle_high_water=40, throttle_outflow=0.00001)
    async with client.get(UNREAD, headers=await token(await institution.user())) as response:
        assert response.status == 429

    await until(lambda: conn.fetchval("SELECT empties_at <= clock_timestamp() FROM throttle_buckets"))


async def test_stopping_waits_for_what_is_not_settled(
    *,
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    institution: Institution,
    token: Token,
    conn: asyncpg.Connection,
) -> None:
    """Another transaction holds the bucket's row, so the answer has gone out before the reservation is given back."""
    gate, app = Gate(), build_app(edge_settings, pool, broker)
    register(app, gate.routes)
    runner = await server.start(app, host="127.0.0.1", port=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        asked = asyncio.create_task(client.get("/api/v1/gate", headers=await token(await institution.user())))
        await gate.filled(1)
        async with conn.transaction():
            await conn.execute("SELECT FROM throttle_buckets FOR UPDATE")
            gate.opened.set()
            assert (await asked).status == 200
            stopping = asyncio.create_task(runner.cleanup())
            await asyncio.wait({stopping}, timeout=0.5)
            assert not stopping.done()
        await stopping

    assert await conn.fetchval("SELECT empties_at <= clock_timestamp() + interval '1 s' FROM throttle_buckets")


async def test_stopping_does_not_wait_for_ever_for_what_is_not_settled(
    *,
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    institution: Institution,
    token: Token,
    conn: asyncpg.Connection,
) -> None:
    """The other transaction does not end before the gateway has."""
    gate, app = Gate(), build_app(edge_settings, pool, broker)
    register(app, gate.routes)
    runner = await server.start(app, host="127.0.0.1", port=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        asked = asyncio.create_task(client.get("/api/v1/gate", headers=await token(await institution.user())))
        await gate.filled(1)
        async with conn.transaction():
            await conn.execute("SELECT FROM throttle_buckets FOR UPDATE")
            gate.opened.set()
            assert (await asked).status == 200
            await runner.cleanup()


async def test_all_replicas_share_the_bucket_and_every_token_has_its_own(
    gateway: Gateway, institution: Institution, token: Token
) -> None:
    user = await institution.user()
    gate = Gate()
    here, there = await gateway(gate), await gateway(gate)
    headers, other = await token(user), await token(user)
    held = [
        asyncio.create_task(replica.get("/api/v1/gate", headers=headers)) for replica in (here, there) for _ in range(6)
    ]
    await gate.filled(12)

    statuses = [await status_read(client.get(UNREAD, headers=headers)) for client in (here, there)]
    other_statuses = [await status_read(client.get(UNREAD, headers=other)) for client in (here, there)]
    gate.opened.set()

    assert statuses == [429, 429]
    assert other_statuses == [200, 200]
    assert [await status_read(task) for task in held] == [200] * 12


async def test_a_request_pays_what_it_cost(gateway: Gateway, institution: Institution, token: Token) -> None:
    gate = Gate(cost=100)
    gate.opened.set()
    client, headers = await gateway(gate), await token(await institution.user())

    async with client.get("/api/v1/gate", headers=headers) as response:
        cost = float(response.headers["X-Request-Cost"])
        assert cost >= 100
        # What it had reserved drains meanwhile, and no more than that.
        assert 600 - cost - 1 <= float(response.headers["X-Rate-Limit-Remaining"]) <= 600 - cost + 50


async def test_an_open_stream_holds_no_reservation(gateway: Gateway, institution: Institution, token: Token) -> None:
    gate = Gate()
    client, headers = await gateway(gate), await token(await institution.user())

    streams = [await client.get("/api/v1/stream", headers=headers) for _ in range(30)]
    async with client.get(UNREAD, headers=headers) as response:
        assert float(response.headers["X-Rate-Limit-Remaining"]) > 550
    gate.opened.set()

    for stream in streams:
        async with stream:
            assert stream.status == 200
            await stream.read()


async def test_a_maximum_of_nothing_switches_it_off(
    gateway: Gateway, institution: Institution, token: Token, conn: asyncpg.Connection
) -> None:
    gate = Gate()
    client, headers = await gateway(gate, throttle_maximum=0), await token(await institution.user())
    held = [asyncio.create_task(client.get("/api/v1/gate", headers=headers)) for _ in range(30)]
    await gate.filled(30)

    async with client.get(UNREAD, headers=headers) as response:
        assert response.status == 200
        assert "X-Rate-Limit-Remaining" not in response.headers
        assert "X-Request-Cost" in response.headers
    gate.opened.set()

    assert {await status_read(task) for task in held} == {200}
    assert await conn.fetchval("SELECT count(*) FROM throttle_buckets") == 0


async def test_errors_tell_the_quota_too(gateway: Gateway, institution: Institution, token: Token) -> None:
    """Who is not known has none."""
    client, headers = await gateway(), await token(await institution.user())

    known = await client.get("/api/v1/conversations/1", headers=headers)
    unknown = await client.get(UNREAD, headers={"Authorization": "Bearer unknown"})

    assert (known.status, unknown.status) == (404, 401)
    assert "X-Rate-Limit-Remaining" in known.headers
    assert "X-Rate-Limit-Remaining" not in unknown.headers


async def test_the_statements_count_as_the_rules_do(
    conn: asyncpg.Connection, institution: Institution, token: Token
) -> None:
    """Drains with time, takes reservations, gives back, and never holds more than the maximum."""
    headers = await token(await institution.user())
    token_hash = hashlib.sha256(headers["Authorization"].removeprefix("Bearer ").encode()).digest()
    expected, began = 0.0, time.monotonic()

    def is_as_expected(drains_in: float) -> bool:
        """To within what has drained of it since the beginning."""
        return expected - (time.monotonic() - began) - 0.001 <= drains_in <= expected + 0.001

    for wait, cost in [(0, 0), (3, 20), (0, 700), (10, 900), (500, 0), (1, 40), (0, 3000), (0, 1), (20, 1)]:
        await conn.execute("UPDATE throttle_buckets SET empties_at = empties_at - make_interval(secs => $1)", wait)
        found = await find_caller(conn, token_hash, reserving=CANVAS.reserving, longest=CANVAS.longest)
        expected = CANVAS.poured(expected - wait, CANVAS.reserving)
        assert found is not None
        assert found.drains_in is not None
        assert is_as_expected(found.drains_in)

        settled = await change_bucket(conn, token_hash, CANVAS.settling(cost), CANVAS.longest)
        expected = CANVAS.poured(expected, CANVAS.settling(cost))
        assert settled is not None
        assert is_as_expected(settled)


async def test_a_first_reservation_fills_the_bucket_no_further_than_to_its_brim(
    institution: Institution, token: Token, conn: asyncpg.Connection
) -> None:
    """Where an operator has a request reserve more than there is."""
    headers = await token(await institution.user())
    token_hash = hashlib.sha256(headers["Authorization"].removeprefix("Bearer ").encode()).digest()

    found = await find_caller(conn, token_hash, reserving=2 * CANVAS.longest, longest=CANVAS.longest)

    assert found is not None
    assert found.drains_in is not None
    assert 0 < found.drains_in <= CANVAS.longest


async def test_what_is_empty_fills_from_now_on(
    institution: Institution, token: Token, conn: asyncpg.Connection
) -> None:
    """A request that took so long that its reservation had drained, and cost more than that."""
    await token(await institution.user())
    token_hash = await conn.fetchval(
        "INSERT INTO throttle_buckets SELECT token_hash, now() - interval '1 hour' FROM access_tokens"
        " RETURNING token_hash"
    )
    drains_in = await change_bucket(conn, token_hash, CANVAS.settling(100), CANVAS.longest)
    assert drains_in == pytest.approx(CANVAS.settling(100), abs=0.001)


def test_what_a_replica_knows_drains_too() -> None:
    began = time.monotonic()
    reservation = Reservation(CANVAS, b"", drains_in=10, made_at=began - 4)
    drains_in = reservation.estimate(1)
    assert 7 - (time.monotonic() - began) <= drains_in <= 7


async def test_an_answer_does_not_wait_for_its_settlement(
    gateway: Gateway, institution: Institution, token: Token, conn: asyncpg.Connection
) -> None:
    """Another transaction has locked the row: the quota is then what this replica knows of it."""
    gate = Gate()
    client, headers = await gateway(gate), await token(await institution.user())
    held = asyncio.create_task(client.get("/api/v1/gate", headers=headers))
    await gate.filled(1)
    async with conn.transaction():
        await conn.execute("SELECT FROM throttle_buckets FOR UPDATE")
        gate.opened.set()
        response = await held
        assert response.status == 200
        assert float(response.headers["X-Rate-Limit-Remaining"]) > 550

    assert await status_read(client.get(UNREAD, headers=headers)) == 200
