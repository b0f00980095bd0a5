"""What one client may take of what all share, so that none holds a gateway alone."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from aiohttp import web

from service.api.unavailable import Unavailable

_QUEUE = 16  # requests that wait for each connection


TOKEN_HASH: web.RequestKey[bytes] = web.RequestKey("token_hash")  # of what the request says it comes with


class Places:
    """Places at a pool of ``size`` connections, and at the one process that parses."""

    def __init__(self, size: int) -> None:
        self._each = max(1, size // 2)
        self._longest = size * _QUEUE
        self._waiting = 0
        self._tokens: WeakValueDictionary[bytes, asyncio.Semaphore] = WeakValueDictionary()
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

    def parsing(self, token_hash: bytes) -> asyncio.Lock:
        """Held while a body that came with that token is parsed: another client waits for one of each token at most."""
        return self._parsing.setdefault(token_hash, asyncio.Lock())

    def of(self, token_hash: bytes) -> asyncio.Semaphore:
        """Held by a request of that token while it has a connection: all of them together have half of the pool."""
        return self._tokens.setdefault(token_hash, asyncio.Semaphore(self._each))


PLACES: web.AppKey[Places] = web.AppKey("places", Places)
