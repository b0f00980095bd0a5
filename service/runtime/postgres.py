"""The connection pool, and what a database error means for the one who met it."""

import asyncpg

from service.runtime.settings import Settings

# The other side is away, or the connection broke and nobody knows whether the last statement counted.
UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# Two transactions met; the loser may simply run again and will find what the winner wrote.
CONFLICT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.LockNotAvailableError,
)

ACQUIRE_TIMEOUT = 10.0  # seconds; without one, acquire() waits for ever


async def create_pool(settings: Settings, *, size: int | None = None) -> asyncpg.Pool:
    """A pool that connects lazily, so that a process starts while the database is away."""
    return await asyncpg.create_pool(
        str(settings.database_url),
        min_size=0,
        max_size=size or settings.database_pool_size,
        statement_cache_size=settings.database_statement_cache,
        command_timeout=60,
        timeout=10,
        server_settings={"application_name": "clarion", "jit": "off"},
    )
