"""Connections to whichever of the database's hosts takes writes (CONTRACT 2).

The driver reads several hosts itself, but gives all of them together the time that one may take: behind a host that has
vanished without a word it never comes to the next. And it begins each connection with the first host, however long ago
another one has taken its place.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg
import structlog
from asyncpg.connect_utils import SessionAttribute

log = structlog.get_logger(__name__)

SHARE = 3.0  # seconds that each of several hosts may take to let a connection in
LOOK = 5.0  # seconds between two looks which of them takes writes

_ATTRIBUTES = "target_session_attrs="
_PARTS = re.compile(r"(?P<before>[^:/?#]+://(?:[^/?#]*@)?)(?P<hosts>[^/?#@]*)(?P<behind>.*)", re.DOTALL)
# The next host may be the right one.
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # starting up, shutting down
    asyncpg.InternalClientError,  # it takes no writes; it ended the connection at once
    OSError,
    TimeoutError,
)


class DatabaseHosts:
    """The hosts of one URL, tried in turn, from the one on that was the right one last.

    When another takes the writes, connections to the one before are cut: it may be frozen, and statements would wait
    for its answer as long as they may.
    """

    def __init__(self, url: str, wanted: SessionAttribute = SessionAttribute.read_write) -> None:
        self.url = url
        self._urls = urls_of(url)
        self._wanted = wanted
        self._first = 0
        self._made: WeakKeyDictionary[asyncpg.Connection, str] = WeakKeyDictionary()

    async def connect(self, _: object = None, /, **parameters: Any) -> asyncpg.Connection:
        """As ``asyncpg.connect`` with these parameters; ConnectionError has the reason of each of several hosts.

        ``target_session_attrs`` in the URL says which of several hosts is wanted.
        """
        if len(self._urls) == 1:
            return await asyncpg.connect(self._urls[0], **parameters)
        reasons, begin = [], self._first
        for position in range(begin, begin + len(self._urls)):
            url = self._urls[position % len(self._urls)]
            # Who gives up meanwhile begins with the next one when they come again.
            self._first = (position + 1) % len(self._urls)
            try:
                conn: asyncpg.Connection = await asyncpg.connect(url, **self._of_several(url, parameters))
            except _AWAY as error:
                reasons.append(f"{_host_of(url)}: {reason_of(error)}")
            else:
                self._first = position % len(self._urls)
                self._take(conn, url)
                return conn
        raise ConnectionError("; ".join(reasons))

    async def follow(self) -> None:
        """Looks every LOOK seconds where writes are taken, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            with suppress(*_AWAY, asyncpg.PostgresError):
                conn = await self.connect()
                await conn.close(timeout=SHARE)

    def _take(self, conn: asyncpg.Connection, url: str) -> None:
        self._made[conn] = url
        old = [other for other, made_by in self._made.items() if made_by != url and not other.is_closed()]
        if old and self._wants_writes(url):
            log.warning("database_host_changed", host=_host_of(url), connections_cut=len(old))
            for other in old:
                other.terminate()

    def _of_several(self, url: str, parameters: dict[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = parameters | {"timeout": min(SHARE, parameters.get("timeout") or SHARE)}
        if _ATTRIBUTES not in url:
            wanted["target_session_attrs"] = self._wanted
        return wanted

    def _wants_writes(self, url: str) -> bool:
        if _ATTRIBUTES not in url:
            return self._wanted is SessionAttribute.read_write
        return f"{_ATTRIBUTES}read-write" in url or f"{_ATTRIBUTES}primary" in url


@cache
def hosts_of(url: str, wanted: SessionAttribute = SessionAttribute.read_write) -> DatabaseHosts:
    """Those of a URL, the same ones for all of a process; ``wanted`` of several that do not say it themselves."""
    return DatabaseHosts(url, wanted)


@asynccontextmanager
async def following(url: str) -> AsyncIterator[None]:
    """Meanwhile it is noticed within LOOK seconds, and SHARE for each silent host, when another one takes over."""
    if len(urls_of(url)) == 1:
        yield
        return
    task = asyncio.create_task(hosts_of(url).follow(), name="database-hosts")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def urls_of(url: str) -> tuple[str, ...]:
    """The URL of each host: ``postgresql://user@one:5432,two/name?…`` has two."""
    before, hosts, behind = _parts_of(url)
    return tuple(f"{before}{host}{behind}" for host in hosts.split(","))


def _host_of(url: str) -> str:
    return _parts_of(url)[1]


def _parts_of(url: str) -> tuple[str, str, str]:
    """What stands before the hosts, the hosts, and what stands behind them.

    urllib refuses several hosts of which one is an IPv6 address: since Python 3.13 nothing but a port may follow one.
    """
    found = _PARTS.fullmatch(url)
    if found is None:  # no URL of a database: that is for the driver to say
        return url, "", ""
    return found["before"], found["hosts"], found["behind"]


def reason_of(error: BaseException) -> str:
    """Why there is no connection, in plain words and never empty."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "it takes no writes"
    said = " ".join(str(error).split())
    if "connection_lost" in said or isinstance(error, ConnectionResetError):
        return "the connection was closed at once: what answers there may be no PostgreSQL"
    return said or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
