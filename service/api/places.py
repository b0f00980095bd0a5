"""What one client may take of what all share, so that none holds a gateway alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakValueDictionary

from aiohttp import web

from service.api.unavailable import Unavailable

_QUEUE = 16  # requests that wait for each connection


CLIENT: web.RequestKey[bytes] = web.RequestKey("client")  # whose it is, by what it came with (credentials.py)


class Places:
    """Places at a pool of ``size`` connections, and at the one process that parses, for so many bytes of ``bodies``."""

    def __init__(self, size: int, *, bodies: int) -> None:
        self._each = max(1, size // 2)
        self._longest = size * _QUEUE
        self._waiting = 0
        self._bodies = bodies
        self._clients: WeakValueDictionary[bytes, asyncio.Semaphore] = WeakValueDictionary()
        self._parsing: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While a request waits for its connection; Unavailable when as many wait as may."""
        if self._waiting >= self._longest:
            raise Unavailable("too many requests wait for a connection to the database")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def parsing(self, client: bytes, size: int) -> AsyncIterator[None]:
        """While a body of ``size`` bytes that this client has sent waits and is parsed.

        Bodies of one client go one by one, so that another client does not wait for all of them. Unavailable when those
        that wait would be more bytes than they may.
        """
        if size > self._bodies:
            raise Unavailable("too many long bodies wait to be parsed")
        self._bodies -= size
        try:
            async with self._parsing.setdefault(client, asyncio.Lock()):
                yield
        finally:
            self._bodies += size

    def of(self, client: bytes) -> asyncio.Semaphore:
        """Held by a request of that client while it has a connection: all of them together have half of the pool."""
        return self._clients.setdefault(client, asyncio.Semaphore(self._each))


PLACES: web.AppKey[Places] = web.AppKey("places", Places)
