"""The gateway killed at any moment of accepting: a request is there whole or not at all."""

import asyncio
import itertools
import random
import signal

import aiohttp

from service.runtime.settings import Settings
from tests.support.chance import as_often
from tests.support.fault_environment import FaultEnvironment, fault_environment

ROUNDS = as_often(3)
CLIENTS = 4


async def keep_sending(
    there: FaultEnvironment, accepted: list[str], begun: asyncio.Event, killed: asyncio.Event
) -> None:
    """Posts again and again, every other time to be written at once; adds the batches of its 202 answers."""
    for number in itertools.count():
        try:
            body = there.private(mode="sync") if number % 2 else there.bulk()
            status, _, headers = await there.teacher.call("POST", "/conversations", json=body)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            # A connection of the gateway before may have been taken up again; only the kill is the end.
            if killed.is_set():
                return
            continue
        assert status in (201, 202)
        if status == 202:
            accepted.append(headers["X-Conversation-Batch-Id"])
            begun.set()


async def test_a_gateway_killed_while_accepting_leaves_no_half_batch(small: Settings, chance: random.Random) -> None:
    async with fault_environment(small.model_copy(update={"chunk_size": 10}), students=40) as there:
        await there.running.worker()
        accepted: list[str] = []
        for _ in range(ROUNDS):
            gateway = await there.running.api()
            begun, killed = asyncio.Event(), asyncio.Event()
            async with asyncio.TaskGroup() as clients:
                for _ in range(CLIENTS):
                    clients.create_task(keep_sending(there, accepted, begun, killed))
                await begun.wait()
                await asyncio.sleep(chance.uniform(0, 0.1))
                killed.set()
                await gateway.stop(signal.SIGKILL)

        await there.assert_all_sent()
        async with there.look() as conn:
            stored = {str(row["id"]) for row in await conn.fetch("SELECT id FROM batches")}
            # What was answered is there; what was cut off may be.
            assert set(accepted) <= stored
            wrong = """
                SELECT b.id FROM batches b LEFT JOIN chunks c ON c.batch_id = b.id
                GROUP BY b.id HAVING coalesce(sum(cardinality(c.recipients)), 0) <> b.total
            """
            assert await conn.fetch(wrong) == []
