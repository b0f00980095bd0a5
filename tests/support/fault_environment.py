"""An installation under fault: its processes, the course its tests send to, and a look into its database."""

import asyncio
import hashlib
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from service.runtime.settings import Settings
from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.institution import Institution
from tests.support.processes import Client, Installation, Process, installation
from tests.support.school import School, make_school
from tests.support.waiting import until

_LOOSE = """
SELECT count(*) FROM sends s
WHERE NOT EXISTS (SELECT FROM batches b WHERE b.send_id = s.id)
  AND NOT EXISTS (SELECT FROM conversation_messages m WHERE m.send_id = s.id)
"""


@dataclass(frozen=True)
class FaultEnvironment:
    """``teacher`` is a client of the API for the course's teacher; ``database`` a DSN."""

    running: Installation
    school: School
    database: str
    session: aiohttp.ClientSession
    teacher: Client

    def bulk(self, **more: object) -> dict[str, object]:
        """The body of an asynchronous bulk send to the whole course."""
        return {
            "recipients": [f"course_{self.school.course}"],
            "subject": "Field trip",
            "body": "We meet at nine.",
            "group_conversation": True,
            "bulk_message": True,
            "mode": "async",
            "context_code": f"course_{self.school.course}",
            **more,
        }

    def private(self, **more: object) -> dict[str, object]:
        """The same into private threads, which are reused."""
        return self.bulk(group_conversation=False, bulk_message=False, **more)

    async def send(self, body: dict[str, object]) -> int:
        """Posts an asynchronous send; the id of the batch."""
        status, answer, headers = await self.teacher.call("POST", "/conversations", json=body)
        assert (status, answer) == (202, [])
        return int(headers["X-Conversation-Batch-Id"])

    async def readiness(self) -> tuple[int, Any, Any]:
        """(status, body, headers) of /readyz."""
        async with self.session.get(f"{self.running.url}/readyz") as response:
            return response.status, await response.json(), response.headers

    async def ready(self) -> None:
        """Returns when /readyz says so."""

        async def is_ready() -> bool:
            _, body, _ = await self.readiness()
            return bool(body["status"] == "ok")

        await until(is_ready)

    async def client(self, user_id: int) -> Client:
        """A client for any user, with a token of the user's own."""
        async with self.look() as conn:
            return await client(conn, self.session, self.running.url, user_id)

    @asynccontextmanager
    async def look(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection to the database, which may have been restarted since the last."""
        conn = await asyncpg.connect(self.database)
        try:
            yield conn
        finally:
            await conn.close()

    async def until(self, query: str, *arguments: object) -> None:
        """Returns when the query's first value is true; a database that is away is waited for as well."""

        async def holds() -> bool:
            try:
                async with self.look() as conn:
                    return bool(await conn.fetchval(query, *arguments))
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
                return False

        await until(holds)

    async def assert_all_sent(self) -> None:
        """Every batch there is comes to its end, whole; nothing of a request is there without the rest.

        But for those that were cancelled before they began.
        """
        await self.until("SELECT count(*) = 0 FROM batches WHERE state NOT IN ('sent', 'error', 'cancelled')")
        async with self.look() as conn:
            for row in await conn.fetch("SELECT id FROM batches WHERE state <> 'cancelled'"):
                await assert_delivered_once(conn, row["id"], self.school.students)
            assert await conn.fetchval(_LOOSE) == 0


@asynccontextmanager
async def fault_environment(settings: Settings, *, students: int) -> AsyncIterator[FaultEnvironment]:
    """Nothing is started yet; all of it is stopped afterwards."""
    database = str(settings.database_url)
    conn = await asyncpg.connect(database)
    institution = Institution(conn)
    await institution.account(name="Root")
    school = await make_school(institution, students)
    async with installation(settings) as running, aiohttp.ClientSession() as session:
        teacher = await client(conn, session, running.url, school.teacher)
        await conn.close()
        yield FaultEnvironment(running, school, database, session, teacher)


async def client(conn: asyncpg.Connection, session: aiohttp.ClientSession, url: str, user_id: int) -> Client:
    """A client with a token, made when there is none."""
    token = f"token-of-{user_id}"
    await conn.execute(
        "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        hashlib.sha256(token.encode()).digest(),
        user_id,
    )
    return Client(session, url, token)


def logged(process: Process, text: str) -> list[str]:
    """The lines with ``text`` that the process has logged so far."""
    return [line for line in process.lines if text in line]


async def killed_while_delivering(
    chance: random.Random,
    process: Process,
    kill: Callable[[], Awaitable[Any]] | None = None,
    *,
    done: str = "chunk_delivered",
) -> None:
    """Lets the worker do some more, which it logs, then kills it, or calls ``kill``, at any moment of the next one."""
    await process.logged(done, times=len(logged(process, done)) + chance.randint(1, 6))
    await asyncio.sleep(chance.uniform(0, 0.03))
    await (kill() if kill else process.stop(signal.SIGKILL))
