"""Moves at random into running sends, from two gateways, while workers are killed: nothing is lost, doubled or miscounted.

A few rounds in the suite; CLARION_MOVE_ROUNDS says how many otherwise (tests/README.md).
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from service.contracts.events import BatchEvent as PublishedBatchEvent
from service.runtime.settings import Settings
from tests.support.batch_story import ALLOWED, ENDS, BatchEvent, assert_counted, assert_story
from tests.support.broker import broker_client
from tests.support.bulk_send_invariants import copies
from tests.support.event_consumer import EventConsumer, event_consumer
from tests.support.fault_environment import FaultEnvironment, fault_environment
from tests.support.processes import Client, Installation, Process, free_port
from tests.support.waiting import until

ROUNDS = int(os.environ.get("CLARION_MOVE_ROUNDS", "3"))
STUDENTS = 60
REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN IF random() < 0.05 AND current_setting(''application_name'') = ''clarion'' THEN RAISE EXCEPTION ''no''; END IF;
 RETURN NEW; END';
CREATE TRIGGER refuse BEFORE INSERT ON conversations FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@dataclass
class Installed:
    """An installation with two gateways and two workers that die and are replaced."""

    there: FaultEnvironment
    gateways: list[Client]
    events: EventConsumer
    workers: list[Process] = field(default_factory=list)

    async def replace_worker(self, chance: random.Random) -> None:
        """One is killed at whatever it does, and the next one begins."""
        victim = chance.randrange(len(self.workers))
        await self.workers[victim].stop(signal.SIGKILL)
        self.workers[victim] = await self.there.running.worker()


@pytest.fixture
async def installed(small: Settings) -> AsyncIterator[Installed]:
    """On the servers of all tests. A conversation in twenty is refused by the database, so that chunks fail as well."""
    settings = small.model_copy(update={"chunk_size": 3, "retry_after": 0.05})
    async with fault_environment(settings, students=STUDENTS) as there, event_consumer(settings, "batch_*") as events:
        other = Installation(settings)
        other.settings = settings.model_copy(update={"port": free_port()})
        await asyncio.gather(there.running.api(), other.api())
        try:
            clients = [await there.client(there.school.teacher)]
            clients.append(
                Client(there.session, f"http://127.0.0.1:{other.settings.port}", f"token-of-{there.school.teacher}")
            )
            async with there.look() as conn:
                await conn.execute(REFUSES)
            made = Installed(there, clients, events)
            made.workers += [await there.running.worker() for _ in range(2)]
            yield made
        finally:
            await other.close()
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()
