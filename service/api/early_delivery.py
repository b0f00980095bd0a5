"""Messages that wait for a worker are delivered before their reader is answered (CONTRACT 3.3)."""

import asyncio
from collections.abc import Sequence

import asyncpg
import structlog
from aiohttp import web

from service.api.authentication import caller
from service.api.keys import POOL, SETTINGS, TAG_SETS
from service.application.messages.early_delivery import deliver_early
from service.contracts.wording import named
from service.runtime.postgres import ACQUIRE_TIMEOUT

log = structlog.get_logger(__name__)

PATIENCE = 2.0  # seconds that an answer waits
_SHARE = 0.25  # of the time that a request has, where that is less

Chunk = tuple[int, int]  # id of the batch, position in it


class EarlyDeliveries:
    """Deliveries under way in this process: one for each chunk, however many of its recipients wait for it.

    They go on when nobody waits any more. At most half of the pool is theirs.
    """

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._places = asyncio.Semaphore(max(1, app[POOL].get_max_size() // 2))
        self._under_way: dict[Chunk, asyncio.Task[None]] = {}

    async def deliver(self, chunks: Sequence[Chunk], *, patience: float) -> None:
        """Returns when each is delivered, one after the other, or cannot be, or the seconds are over."""
        end = asyncio.get_running_loop().time() + patience
        for chunk in chunks:
            left = end - asyncio.get_running_loop().time()
            _, waiting = await asyncio.wait({self._task(chunk)}, timeout=max(left, 0))
            if waiting:
                log.info("early_delivery_not_awaited", batch_id=chunk[0], position=chunk[1])
                return

    async def finish(self) -> None:
        """Waits for those under way, before the pool is closed; it ends those that take too long."""
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=PATIENCE)

    def _task(self, chunk: Chunk) -> asyncio.Task[None]:
        task = self._under_way.get(chunk)
        if task is None:
            task = self._under_way[chunk] = asyncio.create_task(self._deliver(*chunk))
            task.add_done_callback(lambda _: self._under_way.pop(chunk))
        return task

    async def _deliver(self, batch_id: int, position: int) -> None:
        app = self._app
        try:
            async with self._places, app[POOL].acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                await deliver_early(conn, app[SETTINGS], app[TAG_SETS], batch_id, position)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("early_delivery_impossible", batch_id=batch_id, position=position, error=named(error))


EARLY_DELIVERIES: web.AppKey[EarlyDeliveries] = web.AppKey("early_deliveries", EarlyDeliveries)


async def deliver_awaited(request: web.Request) -> None:
    """Has the messages delivered that wait for the caller; the answer does not fail without them."""
    awaited = caller(request).awaited
    if awaited:
        patience = min(PATIENCE, request.app[SETTINGS].request_timeout * _SHARE)
        await request.app[EARLY_DELIVERIES].deliver(awaited, patience=patience)


async def finish_early_deliveries(app: web.Application) -> None:
    """What readers did not wait for."""
    await app[EARLY_DELIVERIES].finish()
