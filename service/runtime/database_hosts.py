"""Connections to whichever of the database's hosts takes writes (CONTRACT 2).

The driver reads several hosts itself, but gives all of them together the time that one may take: behind a host that has
vanished without a word it never comes to the next. And it begins each connection with the first host, however long ago
another one has taken its place.
"""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

SHARE = 3.0  # seconds that each of several hosts may take to let a connection in

# The next host may be the right one.
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # starting up, shutting down
    asyncpg.InternalClientError,  # it takes no writes; it ended the connection at once
    OSError,
    TimeoutError,
)


class DatabaseHosts:
    """The hosts of one URL, tried in turn, from the one on that was the right one last."""

    def __init__(self, url: str) -> None:
        self._urls = urls_of(url)
        self._first = 0

    async def connect(self, _: object = None, /, **parameters: Any) -> asyncpg.Connection:
        """As ``asyncpg.connect`` with these parameters; ConnectionError has the reason of each of several hosts.

        Of several hosts one is wanted that takes writes, unless ``target_session_attrs`` in the URL says otherwise.
        """
        if len(self._urls) == 1:
            return await asyncpg.connect(self._urls[0], **parameters)
        reasons, begin = [], self._first
        for position in range(begin, begin + len(self._urls)):
            url = self._urls[position % len(self._urls)]
            # Who gives up meanwhile begins with the next one when they come again.
            self._first = (position + 1) % len(self._urls)
            try:
                conn: asyncpg.Connection = await asyncpg.connect(url, **_of_several(url, parameters))
            except _AWAY as error:
                reasons.append(f"{urlsplit(url).netloc.rpartition('@')[2]}: {reason_of(error)}")
            else:
                self._first = position % len(self._urls)
                return conn
        raise ConnectionError("; ".join(reasons))


def urls_of(url: str) -> tuple[str, ...]:
    """The URL of each host: ``postgresql://user@one:5432,two/name?…`` has two."""
    parts = urlsplit(url)
    account, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return (url,)
    return tuple(urlunsplit(parts._replace(netloc=f"{account}{at}{host}")) for host in hosts.split(","))


def _of_several(url: str, parameters: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = parameters | {"timeout": min(SHARE, parameters.get("timeout") or SHARE)}
    if "target_session_attrs=" not in urlsplit(url).query:
        wanted["target_session_attrs"] = SessionAttribute.read_write
    return wanted


def reason_of(error: BaseException) -> str:
    """Why there is no connection, in plain words and never empty."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "it takes no writes"
    said = " ".join(str(error).split())
    if "connection_lost" in said or isinstance(error, ConnectionResetError):
        return "the connection was closed at once: what answers there may be no PostgreSQL"
    return said or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
