"""No answer takes longer than CLARION_REQUEST_TIMEOUT; what is answered with 503 takes no effect later (CONTRACT 6.20).

The last tenth of that time is for undoing: the request is cancelled, which cancels its statement and rolls its
transaction back. A database that does not even answer to that loses the connection.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler

from service.api.keys import SETTINGS
from service.api.unavailable import Unavailable
from sql.connection import Connection

UNDOING = 0.1  # of the time that a request has
FINISH = 8.0  # seconds that open requests have when the process stops


class Deadline:
    """When a request that is not done is given up."""

    def __init__(self, timeout: asyncio.Timeout, undoing: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._seconds = (timeout.when() or 0.0) - self._loop.time()
        self._hurried = False
        self._undoing = undoing  # seconds
        self._conn: Connection | None = None
        self._cut: asyncio.TimerHandle | None = None

    def hurry(self, seconds: float) -> None:
        """At the latest in so many seconds from now."""
        self._hurried = True
        when, at = self._timeout.when(), self._loop.time() + seconds
        if when is not None and when > at and not self._timeout.expired():
            self._timeout.reschedule(at)
            self._arm()

    def lift(self) -> None:
        """The request is done, all but its answer, which nothing may take back any more."""
        if not self._timeout.expired():
            self._timeout.reschedule(None)
            self._arm()

    def renew(self) -> None:
        """The request has come on: its time begins anew, unless it has to hurry."""
        if not self._hurried and not self._timeout.expired():
            self._timeout.reschedule(self._loop.time() + self._seconds)
            self._arm()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """The time in the block does not count."""
        began, when = self._loop.time(), self._timeout.when()
        if when is None or self._timeout.expired():
            yield
            return
        self._timeout.reschedule(None)
        try:
            yield
        finally:
            self._timeout.reschedule(when + self._loop.time() - began)

    @contextmanager
    def over(self, conn: Connection) -> Iterator[None]:
        """The connection is cut when the request cannot even be undone in time."""
        self._conn = conn
        self._arm()
        try:
            yield
        finally:
            self._conn = None
            self._arm()

    def _arm(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        when = self._timeout.when()
        if self._conn is not None and when is not None:
            self._cut = self._loop.call_at(when + self._undoing, _terminate, self._conn)


def _terminate(conn: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it has just gone back to the pool
        conn.terminate()


DEADLINE: web.RequestKey[Deadline] = web.RequestKey("deadline")
DEADLINES: web.AppKey[set[Deadline]] = web.AppKey("deadlines", set)  # of the requests that are open


@web.middleware
async def keep_deadline(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Unavailable when the request's time is up."""
    seconds = request.app[SETTINGS].request_timeout
    undoing = seconds * UNDOING
    waiting = request.app[DEADLINES]
    try:
        async with asyncio.timeout(seconds - 1.5 * undoing) as timeout:
            deadline = request[DEADLINE] = Deadline(timeout, undoing)
            waiting.add(deadline)
            try:
                return await handler(request)
            finally:
                waiting.discard(deadline)
    except TimeoutError:
        if not timeout.expired():
            raise
        raise Unavailable("the request's time is up") from None


async def hurry(app: web.Application) -> None:
    """The gateway stops: what is open has FINISH seconds left."""
    for deadline in app[DEADLINES]:
        deadline.hurry(FINISH)
