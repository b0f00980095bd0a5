"""CLARION_DATABASE_URL with several hosts: the one that takes writes is found, whatever the others do."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from service.runtime import database_hosts
from service.runtime.database_hosts import DatabaseHosts, urls_of
from service.runtime.postgres import UNAVAILABLE, close_pool, create_pool
from service.runtime.settings import Settings
from tests.support.databases import with_host
from tests.support.tcp_proxy import tcp_proxy

AWAY = "127.0.0.1:1"  # no server listens there


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """A host that takes connections and says nothing, as one does that has frozen."""
    ended = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ended.set()


def test_each_host_has_a_url_of_its_own() -> None:
    assert urls_of("postgresql://a:p%40w@one:5432,[::1]:2,two/name?sslmode=require") == (
        "postgresql://a:p%40w@one:5432/name?sslmode=require",
        "postgresql://a:p%40w@[::1]:2/name?sslmode=require",
        "postgresql://a:p%40w@two/name?sslmode=require",
    )
    assert urls_of("postgresql:///name") == ("postgresql:///name",)


async def test_hosts_that_are_away_or_silent_are_passed_over_and_asked_last_the_next_time(
    database_url: str, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_hosts, "SHARE", 1.0)
    hosts = DatabaseHosts(with_host(database_url, f"{AWAY},{silent},{{}}"))
    conn = await hosts.connect(timeout=60.0)
    await conn.close()

    monkeypatch.setattr(database_hosts, "SHARE", 60.0)  # the silent one would take them all
    conn = await hosts.connect()
    assert await conn.fetchval("SELECT 1") == 1
    await conn.close()


async def test_who_gave_up_on_a_silent_host_begins_with_the_next(database_url: str, silent: str) -> None:
    hosts = DatabaseHosts(with_host(database_url, f"{silent},{{}}"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await hosts.connect()
    conn = await hosts.connect()
    await conn.close()


async def test_a_host_that_takes_no_writes_is_passed_over(
    settings: Settings, conn: asyncpg.Connection, silent: str
) -> None:
    """None is left here, and the reason of each is said."""
    name = await conn.fetchval("SELECT current_database()")
    url = with_host(str(settings.database_url), f"{AWAY},{{}}")
    await conn.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        with pytest.raises(ConnectionError, match=rf"^{AWAY}: .+; .+: it takes no writes$"):
            await DatabaseHosts(url).connect()
        reader = await DatabaseHosts(f"{url}?target_session_attrs=any").connect()
        await reader.close()
        pool = await create_pool(Settings(**settings.model_dump() | {"database_url": url}))
        with pytest.raises(UNAVAILABLE):
            await pool.acquire()
        await close_pool(pool)
    finally:
        await conn.execute("SET default_transaction_read_only = off")
        await conn.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


async def test_connections_to_a_host_that_was_replaced_are_cut(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be frozen, with statements of ours that it will not answer."""
    monkeypatch.setattr(database_hosts, "SHARE", 1.0)
    there = urlsplit(database_url)
    async with tcp_proxy(there.hostname or "", there.port or 5432) as proxy:
        hosts = DatabaseHosts(with_host(database_url, f"127.0.0.1:{proxy.port},{{}}"))
        before, beside = await hosts.connect(), await hosts.connect()
        assert not before.is_closed()
        proxy.pause()
        waiting = asyncio.create_task(before.fetchval("SELECT 1"))

        after = await hosts.connect()

        with pytest.raises(UNAVAILABLE):
            await waiting
        assert (before.is_closed(), beside.is_closed()) == (True, True)
        assert await after.fetchval("SELECT 1") == 1
        await after.close()
