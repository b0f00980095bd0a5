"""The gateway killed at any moment of a request with an Idempotency-Key: one effect, and the first answer."""

import asyncio
import itertools
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.chance import as_often
from tests.support.fault_environment import FaultEnvironment, fault_environment
from tests.support.waiting import until

ROUNDS = as_often(3)
CLIENTS = 4

# At the commit of a key, when all that belongs to the transaction is done and none of it can be seen.
HOLD = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hold();
"""
# The id of the server's process that is held there.
HELD = """
    SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE NOT l.granted AND l.locktype = 'advisory' AND d.datname = current_database()
"""
KEY = {"Idempotency-Key": "the only one"}


@asynccontextmanager
async def commits_held(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """Meanwhile no commit of a key comes to its end."""
    await conn.execute(HOLD)
    await conn.execute("SELECT pg_advisory_lock(1)")
    try:
        yield
    finally:
        await conn.execute("SELECT pg_advisory_unlock(1)")
        await conn.execute("DROP TRIGGER hold ON idempotency_keys; DROP FUNCTION hold")


@pytest.mark.parametrize("kind", ["to be written at once", "later"])
@pytest.mark.parametrize("committed", [True, False])
async def test_killed_between_commit_and_answer_it_answers_as_it_would_have(
    small: Settings, kind: str, *, committed: bool
) -> None:
    """The commit comes to its end after the death of who asked for it; or that connection dies as well."""
    async with fault_environment(small, students=5) as there, there.look() as conn:
        sent = there.bulk() if kind == "later" else there.private(mode="sync")
        gateway = await there.running.api()
        async with commits_held(conn):
            asked = asyncio.create_task(there.teacher.call("POST", "/conversations", headers=KEY, json=sent))
            await until(lambda: conn.fetchval(f"SELECT EXISTS ({HELD})"))
            await gateway.stop(signal.SIGKILL)
            with pytest.raises(aiohttp.ClientConnectionError):
                await asked
            if not committed:
                await conn.execute(f"SELECT pg_terminate_backend(pid) FROM ({HELD}) held")
        assert await conn.fetchval("SELECT count(*) FROM idempotency_keys") == int(committed)

        await there.running.api()
        first, again = [await raw(there, sent) for _ in range(2)]
        assert (first[:3], again[:3]) == (again[:3], first[:3])
        assert (first[3], again[3]) == ("true" if committed else None, "true")
        stored = await conn.fetchrow("SELECT status, body FROM idempotency_keys")
        assert stored is not None
        assert (first[0], first[1]) == (stored["status"], stored["body"])
        assert await conn.fetchval("SELECT count(*) FROM sends") == 1
        if kind == "later":
            assert first[:3] == (202, b"[]", str(await conn.fetchval("SELECT id FROM batches")))
            await there.running.worker()
            await there.assert_all_sent()
        else:
            assert first[0] == 201


async def raw(there: FaultEnvironment, sent: dict[str, object]) -> tuple[int, bytes, str | None, str | None]:
    """(status, body, batch, whether it was repeated) of the answer."""
    headers = KEY | {"Authorization": f"Bearer token-of-{there.school.teacher}"}
    url = f"{there.running.url}/api/v1/conversations"
    async with there.session.post(url, headers=headers, json=sent) as response:
        found = response.headers
        return (
            response.status,
            await response.read(),
            found.get("X-Conversation-Batch-Id"),
            found.get("Idempotency-Replayed"),
        )


class Requests:
    """What was asked under which key, and the answers."""

    def __init__(self, there: FaultEnvironment) -> None:
        self._there = there
        self._numbers = itertools.count()
        self.sent: dict[str, dict[str, object]] = {}
        self.answers: defaultdict[str, list[object]] = defaultdict(list)

    def new(self) -> str:
        """The key of a request that is not asked yet, every other time of one to be written at once."""
        number = next(self._numbers)
        key = f"key {number}"
        self.sent[key] = self._there.private(mode="sync", body=key) if number % 2 else self._there.bulk(body=key)
        return key

    async def ask(self, key: str) -> bool:
        """Whether it was answered, and not that it still runs: on a connection whose end is not noticed yet."""
        headers, sent = {"Idempotency-Key": key}, self.sent[key]
        status, body, found = await self._there.teacher.call("POST", "/conversations", headers=headers, json=sent)
        if status != 409:
            assert status in (201, 202), body
            self.answers[key].append((status, body, found.get("X-Conversation-Batch-Id")))
        return status != 409

    async def keep_asking(self, begun: asyncio.Event, killed: asyncio.Event) -> None:
        """One after the other, until the gateway is killed."""
        key = self.new()
        while True:
            try:
                await self.ask(key)
            except aiohttp.ClientError:
                # A connection of the gateway before may have been taken up again; only the kill is the end.
                if killed.is_set():
                    return
            else:
                begun.set()
                key = self.new()


async def test_a_gateway_killed_at_random_moments_sends_once_for_each_key(
    small: Settings, chance: random.Random
) -> None:
    async with fault_environment(small.model_copy(update={"chunk_size": 10}), students=40) as there:
        await there.running.worker()
        requests = Requests(there)
        for _ in range(ROUNDS):
            gateway = await there.running.api()
            begun, killed = asyncio.Event(), asyncio.Event()
            async with asyncio.TaskGroup() as clients:
                for _ in range(CLIENTS):
                    clients.create_task(requests.keep_asking(begun, killed))
                await begun.wait()
                await asyncio.sleep(chance.uniform(0, 0.1))
                killed.set()
                await gateway.stop(signal.SIGKILL)

        await there.running.api()
        for key in requests.sent:
            await until(partial(requests.ask, key))
        for key, answers in requests.answers.items():
            assert answers == answers[:1] * len(answers), key
        await there.assert_all_sent()
        async with there.look() as conn:
            assert sorted(row["body"] for row in await conn.fetch("SELECT body FROM sends")) == sorted(requests.sent)
