"""The scheduler: what is due starts once, however many of them there are."""

import asyncio

import asyncpg
import pytest

from service.contracts.commands import PlanBatch, parse_command
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.turns import running_batches
from tests.support.broker import BrokerClient
from tests.support.gateway import publishing_nowhere
from tests.support.schedules import Schedules, fall_due
from tests.support.school import School
from tests.support.waiting import until
from workers.schedule import Scheduler
from workers.turns import limits_of


@pytest.fixture
def schedules(conn: asyncpg.Connection, settings: Settings, school: School) -> Schedules:
    """Scheduled sends of the school's teacher."""
    return Schedules(conn, settings, school)


async def planned(outside: BrokerClient) -> list[int]:
    """Batches of the plan commands published so far, taken off their queue."""
    queue = await outside.channel.get_queue(outside.topology.command_queue("plan"), ensure=False)
    found = []
    while (message := await queue.get(fail=False)) is not None:
        command = parse_command(message.body)
        assert isinstance(command, PlanBatch)
        found.append(command.batch_id)
        await message.ack()
    return sorted(found)


async def test_what_is_due_starts_once_with_several_schedulers(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, outside: BrokerClient, schedules: Schedules
) -> None:
    due = [await schedules.to_the_course() for _ in range(6)]
    later = await schedules.to_the_course()
    async with pool.acquire() as conn:
        for batch in due:
            await fall_due(conn, batch)
    schedulers = [Scheduler(settings, pool, publisher) for _ in range(3)]

    started = await asyncio.gather(*(scheduler.sweep() for scheduler in schedulers))

    assert sum(started) == len(due)
    assert await planned(outside) == due
    assert [(await schedules.batch(batch))["state"] for batch in (*due, later)] == ["created"] * 6 + ["scheduled"]


class Looking(Scheduler):
    """One that says when it has looked for the first time."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, pool, publisher)
        self.looked = asyncio.Event()

    async def sweep(self) -> int:
        """Looks, and says so."""
        started = await super().sweep()
        self.looked.set()
        return started


async def test_it_wakes_for_what_was_scheduled_meanwhile(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, schedules: Schedules, conn: asyncpg.Connection
) -> None:
    """Although what sweepers look for otherwise is looked for once an hour."""
    slow = settings.model_copy(update={"sweep_interval": 3600.0})
    scheduler = Looking(slow, pool, publisher)
    running = asyncio.create_task(scheduler.run_sweeper())
    await scheduler.looked.wait()
    batch = await schedules.to_the_course()
    await conn.execute(
        "WITH due AS (UPDATE scheduled_sends SET due_at = now() + interval '1 s')"
        " UPDATE batches SET send_at = now() + interval '1 s'"
    )

    await until(lambda: begun(conn, batch))

    scheduler.stop()
    await running
    assert await conn.fetchval("SELECT s.created_at >= b.send_at FROM batches b JOIN sends s ON s.id = b.send_id")


async def begun(conn: asyncpg.Connection, batch_id: int) -> bool:
    """Whether the batch is no longer scheduled."""
    return bool(await conn.fetchval("SELECT state <> 'scheduled' FROM batches WHERE id = $1", batch_id))


async def test_a_start_that_fails_is_put_off_and_does_not_hold_up_the_others(
    settings: Settings, pool: asyncpg.Pool, publisher: Publisher, schedules: Schedules, conn: asyncpg.Connection
) -> None:
    broken = await schedules.to_the_course()
    whole = await schedules.to_the_course()
    await conn.execute("UPDATE scheduled_sends SET request = '{}' WHERE batch_id = $1", broken)
    for batch in (broken, whole):
        await fall_due(conn, batch)
    scheduler = Scheduler(settings, pool, publisher)

    await scheduler.sweep()

    assert [(await schedules.batch(batch))["state"] for batch in (broken, whole)] == ["scheduled", "created"]
    row = await conn.fetchrow("SELECT *, due_at > now() AS later FROM scheduled_sends")
    assert row is not None
    assert (row["batch_id"], row["attempts"], row["later"]) == (broken, 1, True)
    assert row["error"].startswith("KeyError")


async def test_a_send_starts_in_time_while_the_broker_is_away(
    settings: Settings, pool: asyncpg.Pool, schedules: Schedules, conn: asyncpg.Connection
) -> None:
    batch = await schedules.to_the_course()
    await fall_due(conn, batch)
    async with publishing_nowhere(settings) as nowhere:
        scheduler = Scheduler(settings, pool, nowhere)
        running = asyncio.create_task(scheduler.run_sweeper())

        await until(lambda: begun(conn, batch))

        scheduler.stop()
        await running
    [left_to_planner] = await running_batches(conn, limits_of(settings), behind=0, limit=10)
    assert (left_to_planner.batch_id, left_to_planner.has_room) == (batch, True)
