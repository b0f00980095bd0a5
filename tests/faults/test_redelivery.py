"""Commands that come again and again: nothing is written for them."""

import asyncpg

from service.contracts.commands import DeliverChunk
from tests.support.broker import BrokerClient, broker_client
from tests.support.fault_environment import FaultEnvironment

WRITTEN = ("sends", "conversations", "participants", "messages", "chunks", "batches")


async def command_all(conn: asyncpg.Connection, publisher: BrokerClient, *, times: int) -> int:
    """Publishes every chunk's command so many times; how many that were."""
    chunks = await conn.fetch("SELECT batch_id, position FROM chunks ORDER BY batch_id, position")
    for _ in range(times):
        for chunk in chunks:
            await publisher.publish(DeliverChunk(**chunk).model_dump_json().encode())
    return len(chunks) * times


async def versions(conn: asyncpg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Where every row version lies and which transaction wrote it."""
    return {
        table: [tuple(row) for row in await conn.fetch(f"SELECT ctid, xmin FROM {table} ORDER BY ctid")]
        for table in WRITTEN
    }


async def test_a_full_redelivery_writes_no_row(there: FaultEnvironment) -> None:
    await there.running.api()
    worker = await there.running.worker()
    await there.send(there.private())
    await there.send(there.private())
    await there.assert_all_sent()
    await worker.logged("batch_audited", times=2)

    async with there.look() as conn, broker_client(there.running.settings) as repeater:
        before = await versions(conn)
        repeated = await command_all(conn, repeater, times=3)
        await worker.logged("nothing_to_deliver", times=repeated)
        assert await versions(conn) == before

    await there.assert_all_sent()


async def test_commands_that_come_three_times_from_the_start_deliver_once(there: FaultEnvironment) -> None:
    """Two workers meet on every chunk."""
    await there.running.api()
    async with there.look() as conn, broker_client(there.running.settings) as repeater:
        await there.send(there.bulk())
        await command_all(conn, repeater, times=3)

    await there.running.worker()
    await there.running.worker()

    await there.assert_all_sent()
