"""What can be seen of a process's work with the database: waits for a connection, and the time of each statement."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import asyncpg
import structlog
from asyncpg.connection import LoggedQuery
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

from service.runtime.metrics import POOL_TIMEOUTS, POOL_WAIT_SECONDS, POOL_WAITING, STATEMENT_SECONDS, STATEMENTS_SLOW
from sql.statements import STATEMENTS

log = structlog.get_logger(__name__)

SLOW = 1.0  # seconds from which on a statement counts as slow, and is named in the log
# Statements are known by their names, what the driver sends around them by theirs; all else is one.
_NAMES = {statement.text: name for name, statement in STATEMENTS.items()}
_NAMES |= {"BEGIN;": "begin", "COMMIT;": "commit", "ROLLBACK;": "rollback"}
_OTHER = "other"


@contextmanager
def _waiting() -> Iterator[None]:
    started = perf_counter()
    try:
        with POOL_WAITING.track_inprogress():
            yield
    except TimeoutError:
        POOL_TIMEOUTS.inc()
        raise
    finally:
        POOL_WAIT_SECONDS.observe(perf_counter() - started)


class _MeasuredAcquire(PoolAcquireContext):
    async def __aenter__(self) -> PoolConnectionProxy:
        with _waiting():
            return await super().__aenter__()

    def __await__(self) -> Generator[Any, None, PoolConnectionProxy]:
        with _waiting():
            return (yield from super().__await__())


class MeasuredPool(asyncpg.Pool):
    """A pool that counts how long its connections are waited for, and how often in vain."""

    def acquire(self, *, timeout: float | None = None) -> _MeasuredAcquire:
        """As asyncpg's."""
        return _MeasuredAcquire(self, timeout)


def record_statement(query: LoggedQuery) -> None:
    """Counts a statement that has ended, well or not; takes some microseconds."""
    name = _NAMES.get(query.query, _OTHER)
    STATEMENT_SECONDS.labels(name).observe(query.elapsed)
    if query.elapsed >= SLOW:
        STATEMENTS_SLOW.labels(name).inc()
        log.warning("slow_statement", statement=name, seconds=round(query.elapsed, 3))
