"""Idempotency keys after their day, of requests over HTTP and over AMQP (CONTRACT 3.2)."""

from datetime import timedelta

import asyncpg

from service.application.idempotency_keys import KEPT_FOR
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.idempotency_keys import forget_requests
from workers.sweeper import SWEEP_LIMIT, Sweeper


class KeySweeper(Sweeper):
    """Forgets keys after their day."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher, kept_for: timedelta = KEPT_FOR):
        super().__init__(settings, publisher)
        self._pool = pool
        self._kept_for = kept_for

    async def sweep(self) -> int:
        """Deletes old keys, SWEEP_LIMIT at most; returns how many."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            return await forget_requests(conn, older_than=self._kept_for, limit=SWEEP_LIMIT)
