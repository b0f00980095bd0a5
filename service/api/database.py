"""A connection for a handler."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from service.api.keys import POOL
from service.api.metering import METER
from service.runtime.postgres import ACQUIRE_TIMEOUT
from sql.connection import Connection


@asynccontextmanager
async def connection(request: web.Request) -> AsyncIterator[Connection]:
    """A pooled connection. What is waited for while holding it is the request's database time.

    A database that is away is one of service.runtime.postgres.UNAVAILABLE, at the latest after
    ACQUIRE_TIMEOUT; the error middleware answers 503.
    """
    async with request.app[POOL].acquire(timeout=ACQUIRE_TIMEOUT) as conn:
        meter = request[METER]
        started, cpu = time.perf_counter(), meter.cpu
        try:
            yield conn
        finally:
            waited = time.perf_counter() - started - (meter.cpu - cpu)
            meter.database += max(waited, 0.0)
