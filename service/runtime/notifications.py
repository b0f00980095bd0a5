"""PostgreSQL's notifications: received on one connection of a process, and sent once a change is committed.

A notification may be lost, with the connection that listens or the process that was to send it. So it only says where
to look sooner; who needs to know looks from time to time as well.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context

import asyncpg
import structlog

from service.runtime.database_hosts import hosts_of, reason_of
from service.runtime.postgres import ACQUIRE_TIMEOUT, CONNECT_TIMEOUT, UNAVAILABLE
from sql.batch_events import notify_of_batches
from sql.health import database_answers
from sql.sessions import begin_session

log = structlog.get_logger(__name__)

NAME = "clarion listener"  # in pg_stat_activity
INTERVAL = 0.1  # seconds between two notices of one process
FIRST_RETRY, LAST_RETRY = 0.2, 5.0  # seconds between attempts to connect
MISPLACED_RETRY = 60.0  # seconds until it is looked again whether a pooler is in between
LOOK = 10.0  # seconds between two looks whether a connection without a word is still one
ANSWER = 5.0  # seconds that such a look may take
CLOSE = 1.0  # seconds for the connection to end in order
_SESSION = {"jit": "off"}  # any setting would do: it shows whether the session is one's own


class _Misplaced(Exception):
    """The URL leads to a pooler."""


class Listener:
    """One connection that listens on a channel and is made anew, with growing pauses, whenever it is lost.

    ``received`` gets each payload; ``connected`` is called each time that it listens again, since notifications in
    between are lost. The URL leads to PostgreSQL itself: a pooler in transaction mode passes no notification on.
    """

    def __init__(
        self, url: str, channel: str, *, received: Callable[[str], None], connected: Callable[[], None]
    ) -> None:
        self._hosts = hosts_of(url)
        self._channel = channel
        self._received = received
        self._connected = connected

    async def run(self) -> None:
        """Listens until cancelled."""
        loop, pause = asyncio.get_running_loop(), FIRST_RETRY
        while True:
            began = loop.time()
            try:
                conn = await self._hosts.connect(
                    timeout=CONNECT_TIMEOUT,
                    command_timeout=ANSWER,
                    statement_cache_size=0,
                    server_settings={"application_name": NAME},
                )
                try:
                    reason = await self._listen(conn)
                finally:
                    await conn.close(timeout=CLOSE)
            except _Misplaced:
                log.warning("not_listening", reason="a pooler is in between: set CLARION_DATABASE_LISTEN_URL")
                await asyncio.sleep(MISPLACED_RETRY)
                continue
            except (asyncpg.PostgresError, *UNAVAILABLE) as error:
                reason = reason_of(error)
            # Connections that end as soon as they begin are retried as slowly as those that do not begin at all.
            pause = FIRST_RETRY if loop.time() - began > LAST_RETRY else pause
            log.warning("not_listening", reason=reason, retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY)

    async def _listen(self, conn: asyncpg.Connection) -> str:
        """Returns when the connection is lost, and why it is; _Misplaced where no notification would come."""
        if not await begin_session(conn, _SESSION):
            raise _Misplaced
        lost = asyncio.Event()
        conn.add_termination_listener(lambda _: lost.set())
        await conn.add_listener(self._channel, lambda _conn, _pid, _channel, payload: self._received(str(payload)))
        log.info("listening", channel=self._channel)
        self._connected()
        while not lost.is_set():
            try:
                await asyncio.wait_for(lost.wait(), LOOK)
            except TimeoutError:
                await database_answers(conn)
        return "the connection was closed"


class BatchNotices:
    """Says which batches this process has changed: at once, then at most every INTERVAL seconds for all of them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._changed: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def changed(self, batch_id: int) -> None:
        """To be called once the change is committed; returns at once."""
        self._changed.add(batch_id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), context=Context())  # what it logs is of no one command

    async def _send(self) -> None:
        while self._changed:
            batch_ids, self._changed = self._changed, set()
            try:
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                    await notify_of_batches(conn, batch_ids)
            except (asyncpg.PostgresError, *UNAVAILABLE) as error:
                log.warning("batches_not_notified", reason=reason_of(error))
            await asyncio.sleep(INTERVAL)
