"""The sweeper for merged accounts: what was under way to one of them when it was merged is moved."""

import asyncpg
import structlog

from service.application.directory.merge import follow_up
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from workers.sweeper import Sweeper

log = structlog.get_logger(__name__)


class MergeSweeper(Sweeper):
    """Moves conversations that were delivered to a merged account to its target. Several may run at once."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._pool = pool

    async def sweep(self) -> int:
        """Merges again those who have something; returns how many."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
            followed = await follow_up(conn)
        if followed:
            log.info("merges_followed_up", users=followed)
        return followed
