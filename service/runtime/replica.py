"""A streaming replica, which is read while it shows all that the primary had when its reader was found."""

import asyncio

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from service.runtime.database_hosts import reason_of
from service.runtime.postgres import OVERDUE, UNAVAILABLE
from sql.replicas import LogPosition, replayed_position

log = structlog.get_logger(__name__)

PATIENCE = 0.1  # seconds that a read waits for what is on its way to the replica
REST = 1.0  # seconds in which reads keep to the primary after the replica was away or behind; then one of them tries
REPLICA_SHARE = 1 / 3  # of a request's time, for a statement on the replica
SILENCE = 2.0  # seconds in which it has to answer at all
_FIRST_PAUSE = 0.001  # seconds between two looks at how far it has come; doubled each time

# What a replica may answer with where the primary would not: it is away, restarts, takes too long, or cannot keep what
# a statement reads because the primary has removed it.
REPLICA_ERRORS = (*UNAVAILABLE, *OVERDUE)


class ReplicaAway(Exception):
    """The replica cannot be read now, the primary can; the message says why in plain words."""


class Replica:
    """Holds the connections to it, and what is known of it. The pool stays the caller's to close."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._rests_until = 0.0
        self.complaint: str | None = None  # why it is not read; None while it is

    def may_be_tried(self) -> bool:
        """False while reads keep to the primary; afterwards True for one of them, which finds out for the others."""
        now = asyncio.get_running_loop().time()
        if self.complaint is not None:
            if now < self._rests_until:
                return False
            self._rests_until = now + REST
        return True

    async def acquire(self, position: LogPosition) -> "PoolConnectionProxy[asyncpg.Record]":
        """A connection that shows so much of the primary's log, to be released; ReplicaAway if there is none."""
        try:
            async with asyncio.timeout(SILENCE + PATIENCE):
                conn = await self._pool.acquire(timeout=SILENCE)
                try:
                    await _wait_for(conn, position)
                except ReplicaAway:
                    await self.release(conn)
                    raise
                except BaseException:  # it may be silent, and then says nothing to the end of its session either
                    conn.terminate()
                    await self.release(conn)
                    raise
        except ReplicaAway as error:
            self.rest(str(error))
            raise
        except REPLICA_ERRORS as error:
            self.rest(reason_of(error))
            raise ReplicaAway(reason_of(error)) from error
        if self.complaint is not None:
            log.info("replica_read_again")
            self.complaint = None
        return conn

    async def release(self, conn: "PoolConnectionProxy[asyncpg.Record]") -> None:
        """Gives a connection back."""
        await self._pool.release(conn)

    def rest(self, reason: str) -> None:
        """Reads keep to the primary for a while."""
        if self.complaint is None:
            log.warning("replica_not_read", reason=reason)
        self.complaint = reason
        self._rests_until = asyncio.get_running_loop().time() + REST

    async def look(self, position: LogPosition) -> str | None:
        """Why it cannot be read now, as ``acquire`` finds it; None when it can."""
        try:
            await self.release(await self.acquire(position))
        except ReplicaAway as error:
            return str(error)
        return None


async def _wait_for(conn: "PoolConnectionProxy[asyncpg.Record]", position: LogPosition) -> None:
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + PATIENCE, _FIRST_PAUSE
    while True:
        shown = await replayed_position(conn)
        if shown is None:
            raise ReplicaAway("it follows no primary")
        if shown.timeline != position.timeline:
            raise ReplicaAway(f"it is on timeline {shown.timeline}, the primary on {position.timeline}")
        if shown.bytes >= position.bytes:
            return
        if loop.time() + pause > deadline:
            raise ReplicaAway(f"it is behind by {position.bytes - shown.bytes} bytes of the log")
        await asyncio.sleep(pause)
        pause *= 2
