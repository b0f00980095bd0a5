"""Moves at random into running sends, from two gateways, while workers are killed: all is counted, and nothing doubled.

A few rounds in the suite; CLARION_MOVE_ROUNDS says how many otherwise (tests/README.md).
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.contracts.events import BatchEvent as PublishedBatchEvent
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.support.batch_story import BatchEvent, assert_counted, assert_story, steps
from tests.support.broker import broker_client
from tests.support.bulk_send_invariants import copies
from tests.support.event_consumer import EventConsumer, event_consumer
from tests.support.fault_environment import FaultEnvironment, fault_environment
from tests.support.processes import Client, Process, free_port
from tests.support.waiting import until

ROUNDS = int(os.environ.get("CLARION_MOVE_ROUNDS", "3"))
STUDENTS = 60
REFUSED = """
CREATE TABLE refused (user_id bigint PRIMARY KEY);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.user_id IN (SELECT user_id FROM refused) THEN RAISE EXCEPTION 'not this one'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON participants FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@dataclass
class Installed:
    """Two gateways, each with the teacher as a client, and two workers that die and are replaced."""

    there: FaultEnvironment
    windows: list[Client]
    events: EventConsumer
    workers: list[Process] = field(default_factory=list)

    async def kill_a_worker(self, chance: random.Random) -> None:
        """At whatever it does; the next one begins."""
        victim = chance.randrange(len(self.workers))
        await self.workers[victim].stop(signal.SIGKILL)
        self.workers[victim] = await self.there.running.start("worker")

    async def refuse(self, users: Collection[int]) -> None:
        """The database takes no new thread of these from now on."""
        async with self.there.look() as conn, conn.transaction():
            await conn.execute("DELETE FROM refused")
            await conn.execute("INSERT INTO refused SELECT unnest($1::bigint[])", list(users))


@pytest.fixture
async def installed(small: Settings) -> AsyncIterator[Installed]:
    """On the servers of all tests, with a database that refuses whom a test names."""
    settings = small.model_copy(update={"retry_after": 0.05})
    async with fault_environment(settings, students=STUDENTS) as there, event_consumer(settings) as events:
        async with there.look() as conn:
            await conn.execute(REFUSED)
        port = free_port()
        first, second = await there.running.api(), await there.running.api(CLARION_PORT=str(port))
        assert first is not second
        one = await there.client(there.school.teacher)
        other = Client(there.session, f"http://127.0.0.1:{port}", f"token-of-{there.school.teacher}")
        made = Installed(there, [one, other], events)
        made.workers += [await there.running.worker(), await there.running.worker()]
        yield made
        async with there.look() as conn:
            await conn.execute("DROP TABLE refused CASCADE; DROP FUNCTION refuse() CASCADE")
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


@dataclass
class Steered:
    """A batch under moves; ``made``: those that were answered with 200."""

    batch_id: int
    made: Counter[str] = field(default_factory=Counter)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def move(self, window: Client, step: str) -> bool:
        """Whether the state allowed it; the answer is that of a move, or says that the state does not allow it."""
        status, body, _ = await window.call("POST", f"/conversations/batches/{self.batch_id}/{step}")
        if status == 409:
            assert [error["attribute"] for error in body] == ["state"]
            return False
        assert (status, body["id"]) == (200, self.batch_id), body
        assert_within(body)
        self.made[step] += 1
        return True

    async def steer(self, window: Client, chance: random.Random) -> None:
        """One window, at random."""
        for step in steps(chance):
            await asyncio.sleep(chance.choice([0, chance.uniform(0, 0.05), chance.uniform(0, 0.4)]))
            await self.move(window, step)

    async def watch(self, window: Client, conn: Connection) -> None:
        """Over and over, in the database and from outside."""
        while not self.done.is_set():
            await assert_counted(conn, self.batch_id)
            status, body, _ = await window.call("GET", f"/conversations/batches/{self.batch_id}")
            assert status == 200
            assert_within(body)


def assert_within(body: Mapping[str, Any]) -> None:
    """An answer never counts more than there are; what has ended is complete."""
    settled = body["delivered"] + body["failed"] + body["skipped"]
    assert settled <= body["total"] == STUDENTS
    assert (body["finished_at"] is not None) == (settled == body["total"])


async def ended(conn: Connection, batch_id: int) -> None:
    """Returns when all are settled."""
    await until(lambda: conn.fetchval("SELECT finished_at IS NOT NULL FROM batches WHERE id = $1", batch_id))


async def play(installed: Installed, chance: random.Random, conn: Connection) -> None:
    """One send, moved and checked to its end, and perhaps tried again."""
    there, windows = installed.there, installed.windows
    await installed.refuse(chance.sample(there.school.students, chance.choice([0, 1, 3])))
    steered = Steered(await there.send(chance.choice([there.bulk, there.bulk, there.private])()))

    async def kill() -> None:
        await asyncio.sleep(chance.uniform(0, 0.6))
        await installed.kill_a_worker(chance)

    async with asyncio.TaskGroup() as watching:
        watching.create_task(steered.watch(chance.choice(windows), conn))
        async with asyncio.TaskGroup() as moving:
            for window in windows:
                moving.create_task(steered.steer(window, random.Random(chance.random())))
            moving.create_task(kill())
        if chance.random() < 0.3:
            await installed.refuse([])
        await steered.move(windows[0], "resume")
        async with there.look() as look:
            await ended(look, steered.batch_id)
            if chance.random() < 0.7:
                await installed.refuse([])
            retried = await asyncio.gather(*(steered.move(window, "retry") for window in windows))
            assert sum(retried) <= 1
            await ended(look, steered.batch_id)
        steered.done.set()
    await check(installed, steered, conn)


async def check(installed: Installed, steered: Steered, conn: Connection) -> None:
    """Counters, copies and events, at the end."""
    await assert_counted(conn, steered.batch_id)
    rows = await conn.fetch("SELECT state, recipients FROM chunks WHERE batch_id = $1", steered.batch_id)
    has = {user_id: int(row["state"] == "delivered") for row in rows for user_id in row["recipients"]}
    assert sorted(has) == installed.there.school.students
    assert await copies(conn, steered.batch_id) == has
    first: dict[str, BatchEvent] = {}
    for each in await installed.events.everything(conn):
        if isinstance(each.event, PublishedBatchEvent):
            body = each.event.body.model_dump()
            first.setdefault(each.message_id, BatchEvent(each.event.name, each.message_id, body))
    assert {event.body["batch_id"] for event in first.values()} == {str(steered.batch_id)}
    assert_story([*first.values()], steered.made)


async def test_moves_into_sends_whose_workers_are_killed_are_exact(installed: Installed, chance: random.Random) -> None:
    made: Counter[str] = Counter()
    async with installed.there.look() as conn:
        for _ in range(ROUNDS):
            await play(installed, chance, conn)
        for row in await conn.fetch("SELECT state FROM batches"):
            made[row["state"]] += 1
    assert made.total() == ROUNDS
