"""Batches as those who watch them are shown them: read for all at once, whenever one may have changed.

A notification says which to read; each is read every second without one too, since notifications may be lost. So what
a watcher is shown is what it would read itself, and never older than that by more than a second.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, replace
from hashlib import blake2b

import asyncpg
import structlog

from service.application.presentation.batches import present_batch
from service.application.presentation.shapes import BatchProgress
from service.runtime.database_hosts import reason_of
from service.runtime.notifications import Listener
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from sql.batch_events import CHANNEL, watched_batches
from sql.batches import Batch
from sql.connection import Connection

log = structlog.get_logger(__name__)

INTERVAL = 0.1  # seconds between two looks at what has changed
LONGEST = 1.0  # seconds between two looks at a watched batch of which no change was notified


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A batch at one moment, as its sender is shown it. ``id``: equal where the batch is the same but for the time."""

    id: str
    body: BatchProgress
    finished: bool


async def take_snapshot(conn: Connection, found: Batch, *, viewer_id: int, base_url: str) -> Snapshot:
    """The batch as GET /conversations/batches/:id shows it."""
    body = await present_batch(conn, found, viewer_id=viewer_id, base_url=base_url)
    return Snapshot(snapshot_id(found), body, found.progress.finished)


def snapshot_id(found: Batch) -> str:
    """Of all that is known of the batch, but for when it was read; the same in every process."""
    return blake2b(repr(replace(found, seen_at=found.progress.created_at)).encode(), digest_size=8).hexdigest()


class Watcher:
    """One who watches a batch. Of states that come faster than they are taken only the last is kept."""

    def __init__(self, batch_id: int, shown: Snapshot, *, viewer_id: int, base_url: str) -> None:
        self.batch_id = batch_id
        self.viewer_id = viewer_id
        self.base_url = base_url
        self.latest = shown
        self.ended = False
        self._changed = asyncio.Event()

    async def change(self, *, within: float) -> bool:
        """Whether ``latest`` is another one, as soon as it is; False after so many seconds, or at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._changed.wait()
        changed = self._changed.is_set() and not self.ended
        self._changed.clear()
        return changed

    def show(self, snapshot: Snapshot) -> None:
        """There is a new state."""
        self.latest = snapshot
        self._changed.set()

    def end(self) -> None:
        """There will be no other."""
        self.ended = True
        self._changed.set()


class BatchEvents:
    """All watchers of a process, whose batches it reads over one connection of the pool for a moment at a time.

    It listens from the first watcher on, on a connection of its own to ``listen_url``.
    """

    def __init__(self, pool: asyncpg.Pool, listen_url: str) -> None:
        self._pool = pool
        self._listener = Listener(listen_url, CHANNEL, received=self._received, connected=self._look_at_all)
        self._watchers: defaultdict[int, set[Watcher]] = defaultdict(set)
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @contextmanager
    def watching(self, batch_id: int, shown: Snapshot, *, viewer_id: int, base_url: str) -> Iterator[Watcher]:
        """Its sender watches a batch, and has seen the state that is ``shown``."""
        watcher = Watcher(batch_id, shown, viewer_id=viewer_id, base_url=base_url)
        if self._closed:
            watcher.end()
        elif not self._tasks:
            # In a context of their own: what they log is of no request.
            self._tasks = [asyncio.create_task(work, context=Context()) for work in (self._listener.run(), self._run())]
        self._watchers[batch_id].add(watcher)
        self._look_at([batch_id])  # it may have changed since
        try:
            yield watcher
        finally:
            self._watchers[batch_id].discard(watcher)
            if not self._watchers[batch_id]:
                del self._watchers[batch_id]

    @property
    def watched(self) -> int:
        """How many batches are watched."""
        return len(self._watchers)

    def end_all(self) -> None:
        """Ends those who watch, and whoever begins to."""
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    async def close(self) -> None:
        """Stops listening and reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _received(self, payload: str) -> None:
        self._look_at([int(payload)] if payload.isdecimal() else ())

    def _look_at_all(self) -> None:
        self._look_at(self._watchers)

    def _look_at(self, batch_ids: Collection[int]) -> None:
        if due := self._watchers.keys() & batch_ids:
            self._due |= due
            self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        all_at = loop.time() + LONGEST
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(all_at if self._watchers else None):
                    await self._wake.wait()
            self._wake.clear()
            if loop.time() >= all_at:
                self._due |= self._watchers.keys()
                all_at = loop.time() + LONGEST
            due, self._due = self._due, set()
            try:
                await self._read(due)
            except (asyncpg.PostgresError, *UNAVAILABLE) as error:
                log.warning("watched_batches_not_read", reason=reason_of(error))
            except Exception:  # of one state of one batch; the next look may do without
                log.exception("watched_batches_not_read")
            await asyncio.sleep(INTERVAL)

    async def _read(self, batch_ids: Collection[int]) -> None:
        """One look at these batches, for those who watch them when it begins."""
        watched = {batch_id: tuple(self._watchers[batch_id]) for batch_id in batch_ids if batch_id in self._watchers}
        if not watched:
            return
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            found = {batch.id: batch for batch in await watched_batches(conn, watched)}
            for batch_id, watchers in watched.items():
                if batch_id in found:
                    await _show(conn, found[batch_id], watchers)
                else:
                    for watcher in watchers:
                        watcher.end()


async def _show(conn: Connection, found: Batch, watchers: Collection[Watcher]) -> None:
    """Those who have seen another state get this one; it is made once for all who are shown the same."""
    id_ = snapshot_id(found)
    late: defaultdict[tuple[int, str], list[Watcher]] = defaultdict(list)
    for watcher in watchers:
        if watcher.latest.id != id_:
            late[watcher.viewer_id, watcher.base_url].append(watcher)
    for (viewer_id, base_url), those in late.items():
        snapshot = await take_snapshot(conn, found, viewer_id=viewer_id, base_url=base_url)
        for watcher in those:
            watcher.show(snapshot)
