"""Deliverers and relays killed at any moment of bulk sends: what consumers receive is what the database holds."""

import asyncio
import random
import signal
from collections.abc import Sequence

import asyncpg

from service.contracts.events import ConversationCreated, MessageCreated
from tests.support.chance import as_often
from tests.support.event_consumer import ReceivedEvent, event_consumer
from tests.support.fault_environment import FaultEnvironment, killed_while_delivering, logged
from tests.support.processes import Process

ROUNDS = as_often(3)


async def deliverer(there: FaultEnvironment) -> Process:
    """Plans and delivers, and publishes no event."""
    process = await there.running.start("worker", "--only", "plan", "--only", "deliver")
    await process.logged("broker_connected", times=3)
    return process


async def relay(there: FaultEnvironment) -> Process:
    """Publishes events of what is being written without waiting for its end."""
    eager = {"CLARION_RELAY_INTERVAL": "0.02", "CLARION_RELAY_PATIENCE": "0"}
    process = await there.running.start("worker", "--only", "relay", **eager)
    await process.logged("broker_connected", times=2)
    return process


async def killed_while_relaying(chance: random.Random, process: Process) -> None:
    """Lets the relay publish some more, then kills it at any moment of the next."""
    await process.logged("events_relayed", times=len(logged(process, "events_relayed")) + chance.randint(1, 3))
    await asyncio.sleep(chance.uniform(0, 0.05))
    await process.stop(signal.SIGKILL)


async def test_deliverers_and_relays_killed_at_random_moments_publish_exactly_what_the_database_holds(
    there: FaultEnvironment, chance: random.Random
) -> None:
    await there.running.api()
    async with event_consumer(there.running.settings) as listening:
        deliverers = [await deliverer(there), await deliverer(there)]
        relays = [await relay(there), await relay(there)]
        for number in range(ROUNDS):
            # Private threads are reused from the second such send on.
            await there.send(there.private() if number % 2 else there.bulk())
            delivering, relaying = chance.randrange(len(deliverers)), chance.randrange(len(relays))
            await asyncio.gather(
                killed_while_delivering(chance, deliverers[delivering]), killed_while_relaying(chance, relays[relaying])
            )
            deliverers[delivering], relays[relaying] = await asyncio.gather(deliverer(there), relay(there))

        await there.assert_all_sent()
        async with there.look() as conn:
            received = await listening.everything(conn)
            assert await conn.fetchval("SELECT count(*) FROM batches") == ROUNDS
            assert {one.message_id for one in received} == await expected(conn)
        assert_in_order(received)
        assert [await process.stop() for process in (*deliverers, *relays)] == [0, 0, 0, 0]


async def expected(conn: asyncpg.Connection) -> set[str]:
    """Message ids of all that the database says has happened."""
    return {
        row["message_id"]
        for row in await conn.fetch(
            """
            SELECT 'conversation_created.' || id AS message_id FROM conversations
            UNION ALL
            SELECT 'conversation_message_created.' || id FROM conversation_messages
            UNION ALL
            SELECT event || '.' || id FROM batches, unnest(ARRAY['batch_started', 'batch_finished']) AS event
            UNION ALL
            SELECT 'batch_progress.' || b.id || '.' || settled
            FROM batches b, generate_series(3, b.total - 1, 3) AS settled
            """
        )
    }


def assert_in_order(received: Sequence[ReceivedEvent]) -> None:
    """Whatever came again: that a conversation was opened came before anything about it."""
    opened: set[str] = set()
    for one in received:
        if isinstance(one.event, ConversationCreated):
            opened.add(one.event.body.conversation_id)
        elif isinstance(one.event, MessageCreated):
            assert one.event.body.conversation_id in opened
