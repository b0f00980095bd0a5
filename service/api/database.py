"""A connection for a handler."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from aiohttp import web

from service.api.deadline import DEADLINE
from service.api.keys import POOL
from service.api.metering import METER
from service.api.places import CLIENT, PLACES
from service.api.unavailable import Unavailable
from service.runtime.postgres import ACQUIRE_TIMEOUT, OVERDUE, is_unavailable
from sql.connection import Connection

_WHOLE: web.RequestKey[Connection] = web.RequestKey("whole")  # the one that a request has from beginning to end


@asynccontextmanager
async def one_connection(request: web.Request) -> AsyncIterator[Connection]:
    """As ``connection``, which gives this same one until it ends."""
    async with connection(request) as conn:
        request[_WHOLE] = conn
        try:
            yield conn
        finally:
            del request[_WHOLE]


@asynccontextmanager
async def connection(request: web.Request) -> AsyncIterator[Connection]:
    """A pooled connection. What is waited for while holding it is the request's database time.

    Unavailable when the database is away, cannot be reached within ACQUIRE_TIMEOUT or takes too long, and when too many
    requests wait for a connection already.
    """
    if _WHOLE in request:
        yield request[_WHOLE]
        return
    try:
        async with AsyncExitStack() as stack:
            conn = await _acquire(request, stack)
            with metered(request):
                yield conn
    except Exception as error:
        if is_unavailable(error) or isinstance(error, OVERDUE):
            raise Unavailable(f"database: {error!r}") from error
        raise


@contextmanager
def metered(request: web.Request) -> Iterator[None]:
    """What is waited for in the block is the request's database time."""
    meter = request[METER]
    started, cpu = time.perf_counter(), meter.cpu
    try:
        yield
    finally:
        waited = time.perf_counter() - started - (meter.cpu - cpu)
        meter.database += max(waited, 0.0)


async def _acquire(request: web.Request, stack: AsyncExitStack) -> Connection:
    places, pool = request.app[PLACES], request.app[POOL]
    with places.waiting():
        await stack.enter_async_context(places.of(request[CLIENT]))
        conn = await pool.acquire(timeout=ACQUIRE_TIMEOUT)
    stack.enter_context(request[DEADLINE].over(conn))
    stack.push_async_callback(pool.release, conn)
    return conn
