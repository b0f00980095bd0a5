"""Messages that wait for a worker are delivered before their reader is answered (CONTRACT 3.3)."""

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

import asyncpg
import structlog
from aiohttp import web

from service.api.authentication import caller
from service.api.keys import POOL, SETTINGS, TAG_SETS
from service.application.messages.early_delivery import Slice, cut_out, deliver_early
from service.contracts.wording import named
from service.runtime.postgres import ACQUIRE_TIMEOUT

log = structlog.get_logger(__name__)

PATIENCE = 5.0  # seconds that an answer waits
_SHARE = 0.25  # of the time that a request has, where that is less

Chunk = tuple[int, int]  # id of the batch, position in it


class _Readers:
    """Those who wait for the same chunk at a time: one after the other finds out what is delivered for whom."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.slices: list[tuple[frozenset[int], asyncio.Task[None]]] = []


class EarlyDeliveries:
    """Deliveries under way in this process: one for all recipients of a slice who wait for it.

    They go on when nobody waits any more. At most half of the pool is theirs.
    """

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._places = asyncio.Semaphore(max(1, app[POOL].get_max_size() // 2))
        self._readers: WeakValueDictionary[Chunk, _Readers] = WeakValueDictionary()
        self._under_way: set[asyncio.Task[None]] = set()

    async def deliver(self, user_id: int, chunks: Sequence[Chunk], *, patience: float) -> None:
        """Returns when the user has what is in these chunks, one after the other, or the seconds are over."""
        try:
            async with asyncio.timeout(patience):
                for chunk in chunks:
                    await self._deliver_from(chunk, user_id)
        except TimeoutError:
            log.info("early_delivery_not_awaited", batch_id=chunk[0], position=chunk[1])

    async def finish(self) -> None:
        """Waits for those under way, before the pool is closed; it ends those that take too long."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=PATIENCE)

    async def _deliver_from(self, chunk: Chunk, user_id: int) -> None:
        readers = self._readers.setdefault(chunk, _Readers())
        async with readers.turn:
            found = (task for users, task in readers.slices if user_id in users)
            task = next(found, None) or await self._begin(readers, chunk, user_id)
        if task is not None:
            await asyncio.wait({task})

    async def _begin(self, readers: _Readers, chunk: Chunk, user_id: int) -> asyncio.Task[None] | None:
        """A delivery of those around the reader, cut out of the chunk; None when there is nothing to wait for."""
        cut: asyncio.Future[Slice | None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._deliver(chunk, user_id, cut))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        found = await asyncio.shield(cut)
        if found is None:
            return None
        readers.slices.append((found.recipients, task))
        return task

    async def _deliver(self, chunk: Chunk, user_id: int, cut: asyncio.Future[Slice | None]) -> None:
        (batch_id, position), app = chunk, self._app
        try:
            async with self._places, app[POOL].acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                found = await cut_out(conn, batch_id, user_id)
                cut.set_result(found)
                if found is not None:
                    await deliver_early(conn, app[SETTINGS], app[TAG_SETS], batch_id, found.position)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            # An answer does not fail with the database's troubles: it comes without what waits.
            log.warning("early_delivery_impossible", batch_id=batch_id, position=position, error=named(error))
        finally:
            if not cut.done():
                cut.set_result(None)


EARLY_DELIVERIES: web.AppKey[EarlyDeliveries] = web.AppKey("early_deliveries", EarlyDeliveries)


async def deliver_awaited(request: web.Request) -> None:
    """Has the messages delivered that wait for the caller; the answer does not fail without them."""
    asking = caller(request)
    if asking.awaited:
        patience = min(PATIENCE, request.app[SETTINGS].request_timeout * _SHARE)
        await request.app[EARLY_DELIVERIES].deliver(asking.user_id, asking.awaited, patience=patience)


async def finish_early_deliveries(app: web.Application) -> None:
    """What readers did not wait for."""
    await app[EARLY_DELIVERIES].finish()
