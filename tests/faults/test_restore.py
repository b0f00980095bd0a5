"""A backup that was taken amid bulk sends is restored, as deploy/README.md says, and goes on where it was."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from service.contracts.events import MessageCreated
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.support.broker import broker_client
from tests.support.databases import empty_database
from tests.support.event_consumer import EventConsumer, event_consumer
from tests.support.fault_environment import FaultEnvironment, fault_environment
from tests.support.processes import installation
from tests.support.programs import run_postgres_program
from tests.support.waiting import until

PAGE = Path(__file__).parents[2] / "deploy" / "README.md"
SENDS = 2
HALFWAY = """
SELECT count(*) FILTER (WHERE state = 'pending') > 0 AND count(*) FILTER (WHERE state = 'delivered') > 0 FROM chunks
"""


@asynccontextmanager
async def amid_sends(there: FaultEnvironment) -> AsyncIterator[str]:
    """A snapshot, by its name, in which some recipients have their messages and some do not; the sends go on."""
    async with there.look() as conn:
        while True:
            for number in range(SENDS):
                await there.send(there.private() if number % 2 else there.bulk())
            transaction = conn.transaction(isolation="repeatable_read")
            await transaction.start()
            if await conn.fetchval(HALFWAY):
                break
            await transaction.rollback()  # the workers were faster
        yield await conn.fetchval("SELECT pg_export_snapshot()")
        await transaction.rollback()


async def jump_over_ids(conn: Connection) -> None:
    """As the page has it."""
    [statement] = re.findall(r"```sql\n(\s*SELECT setval.*?;)\n\s*```", PAGE.read_text("utf-8"), re.DOTALL)
    await conn.execute(statement)


async def all_published(there: FaultEnvironment, listening: EventConsumer) -> set[str]:
    """Message ids of the events of all copies, once nothing waits in the outbox."""
    await there.until("SELECT count(*) = 0 FROM outbox")
    async with there.look() as conn:
        sent = await conn.fetchval("SELECT sum(total) FROM batches")

    def come() -> set[str]:
        return {message_id for message_id in listening.times if message_id.startswith(f"{MessageCreated.name}.")}

    await until(lambda: len(come()) >= sent)
    return come()


async def test_a_backup_that_was_taken_amid_sends_goes_on_where_it_was(small: Settings, tmp_path: Path) -> None:
    dump = str(tmp_path / "clarion.dump")
    small = small.model_copy(update={"relay_patience": 0})
    async with fault_environment(small, students=60) as there, event_consumer(small) as listening:
        processes = [await there.running.api(), await there.running.worker(), await there.running.worker()]
        async with amid_sends(there) as snapshot:
            await run_postgres_program(
                "pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={dump}", there.database
            )
        await there.send(there.bulk())  # what happens after the backup, and is lost with it
        await there.assert_all_sent()
        seen = await all_published(there, listening)
        for process in processes:
            await process.stop()

        async with empty_database() as url:
            await run_postgres_program("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", dump)
            settings = Settings(**small.model_dump() | {"database_url": url})
            async with installation(settings) as running:
                restored = replace(there, running=running, database=url, teacher=there.teacher.at(running.url))
                async with restored.look() as conn:
                    assert await conn.fetchval(HALFWAY)
                    await jump_over_ids(conn)
                await running.api()
                await running.worker()
                await restored.assert_all_sent()
                again = await all_published(restored, listening)
                assert again == seen  # those that came twice have the ids that they had

                await restored.send(restored.private())
                await restored.assert_all_sent()
                await restored.until("SELECT count(*) = 0 FROM outbox")
                new = {f"{MessageCreated.name}.{message_id}" for message_id in await last_messages(restored)}
                await until(lambda: new <= listening.times.keys())
                assert not seen & new
    async with broker_client(small) as cleaner:
        await cleaner.delete_topology()


async def last_messages(there: FaultEnvironment) -> list[int]:
    """Message ids of the copies of the newest batch."""
    async with there.look() as conn:
        rows = await conn.fetch(
            "SELECT c.first_id + r.n - 1 AS id FROM chunks c CROSS JOIN LATERAL unnest(c.recipients) WITH ORDINALITY"
            " AS r(user_id, n) WHERE c.batch_id = (SELECT max(id) FROM batches)"
        )
    return [row["id"] for row in rows]
