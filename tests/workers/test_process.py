"""A worker as it is put together: every part that its consumers and sweepers need is there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest

from service.application.directory.events import apply
from service.application.inbox import batch_update
from service.application.messages.reply import Queued, carry_out, validate
from service.application.messages.reply_checks import AddMessage
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.contracts.commands import AnyCommand, DeliverChunk, DeliverReply, UpdateConversations
from service.domain.participant import Event
from service.runtime.ids import IdBlocks
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.batches import Batches, refused
from tests.support.broker import BrokerClient
from tests.support.conversations import Threads
from tests.support.school import School
from tests.support.user_merges import merged
from tests.support.waiting import until
from workers.attempts import MAX_REDELIVERIES, TOO_MANY_REDELIVERIES
from workers.process import WORKERS, Worker


@asynccontextmanager
async def working(settings: Settings, pool: asyncpg.Pool, *names: str) -> AsyncIterator[Worker]:
    """``clarion worker`` with these consumers, drained at the end."""
    worker = Worker(settings, pool, Publisher(settings, "test-worker"))
    await worker.start(names)
    yield worker
    await worker.drain()


@pytest.fixture
async def reply(conn: asyncpg.Connection, settings: Settings, threads: Threads, school: School) -> DeliverReply:
    """A reply that waits in its conversation's line."""
    queueing = settings.model_copy(update={"queued_reply_participants": 1})
    work = Work(queueing, IdBlocks(), TagSets(), cause=None)
    conversation = await threads.group(school.teacher, school.students[:2])
    command = AddMessage(author_id=school.teacher, conversation_id=conversation, body="Hello again")
    async with conn.transaction():
        outcome = await carry_out(work, conn, command, await validate(work, conn, command))
    assert isinstance(outcome, Queued)
    return DeliverReply(reply_id=outcome.reply_id)


@pytest.fixture
async def update(conn: asyncpg.Connection, threads: Threads, school: School) -> UpdateConversations:
    """A batch update that was accepted."""
    made = await threads.private(school.teacher, school.students[0])
    accepted = await batch_update.accept(conn, school.students[0], [str(made)], Event.STAR)
    return UpdateConversations(progress_id=accepted.id)


@pytest.fixture
async def chunk(batches: Batches, school: School) -> DeliverChunk:
    """A chunk that waits to be delivered."""
    return DeliverChunk(batch_id=await batches.accept(school.students[:1], chunk_size=1), position=0)


TABLES = {"deliver": "chunks", "reply": "pending_replies", "update": "batch_updates"}


@pytest.fixture(params=TABLES)
async def command(
    request: pytest.FixtureRequest, chunk: DeliverChunk, reply: DeliverReply, update: UpdateConversations
) -> AnyCommand:
    """One of each kind that is carried out in attempts."""
    commands: dict[str, AnyCommand] = {"deliver": chunk, "reply": reply, "update": update}
    return commands[request.param]


async def came_back(outside: BrokerClient, publisher: Publisher, command: AnyCommand) -> None:
    """Its worker has died with it; the queue has it again."""
    await publisher.command(command)
    await outside.waiting(command.name, 1)
    queue = await outside.channel.get_queue(outside.topology.command_queue(command.name))
    message = await queue.get()
    await message.nack(requeue=True)


async def test_a_command_that_came_back_too_often_is_given_up(
    *,
    settings: Settings,
    pool: asyncpg.Pool,
    conn: asyncpg.Connection,
    publisher: Publisher,
    outside: BrokerClient,
    command: AnyCommand,
) -> None:
    await conn.execute(f"UPDATE {TABLES[command.name]} SET redeliveries = {MAX_REDELIVERIES}")
    await came_back(outside, publisher, command)

    async with working(settings, pool, command.name):
        (letter,) = await outside.dead_letters(1)

    assert letter.reason == TOO_MANY_REDELIVERIES


@pytest.mark.usefixtures("outside")  # removes the queues
async def test_what_a_chunk_is_cut_into_is_commanded_at_once(
    *,
    settings: Settings,
    pool: asyncpg.Pool,
    conn: asyncpg.Connection,
    publisher: Publisher,
    batches: Batches,
) -> None:
    """No sweeper is at work."""
    batch = await batches.accept(range(10, 18), chunk_size=8)
    async with refused(conn, "NEW.user_id = 14"), working(settings, pool, "deliver"):
        await publisher.command(DeliverChunk(batch_id=batch, position=0))
        await until(lambda: conn.fetchval("SELECT delivered = 7 FROM batches"))

    assert await conn.fetchval("SELECT recipients FROM chunks WHERE state = 'pending'") == [14]


async def test_a_command_that_came_back_and_is_held_up_by_something_outside_is_not_blamed(
    *,
    settings: Settings,
    pool: asyncpg.Pool,
    conn: asyncpg.Connection,
    publisher: Publisher,
    outside: BrokerClient,
    command: AnyCommand,
) -> None:
    """The table that all of them write is not there; the row says how often the command came back."""
    table = TABLES[command.name]
    await conn.execute(f"""
        CREATE TABLE counted (redeliveries integer);
        CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO counted VALUES (NEW.redeliveries); RETURN NULL; END $$;
        CREATE TRIGGER counted AFTER UPDATE OF redeliveries ON {table} FOR EACH ROW EXECUTE FUNCTION count_it();
        ALTER TABLE participants RENAME TO elsewhere;
    """)
    try:
        await came_back(outside, publisher, command)
        async with working(settings, pool, command.name):
            await until(lambda: conn.fetchval("SELECT array_agg(redeliveries) = '{1,0}' FROM counted"))
    finally:
        await conn.execute("ALTER TABLE elsewhere RENAME TO participants; DROP FUNCTION count_it() CASCADE")
        await conn.execute("DROP TABLE counted")


async def test_what_is_left_undone_is_swept_up(
    *,
    settings: Settings,
    pool: asyncpg.Pool,
    conn: asyncpg.Connection,
    outside: BrokerClient,
    school: School,
    threads: Threads,
    chunk: DeliverChunk,
    reply: DeliverReply,
    update: UpdateConversations,
) -> None:
    """Without any command: what is due of chunks, replies and batch updates; old keys; what reached merged accounts."""
    old, target = school.students[-2:]
    await apply(conn, [merged(old, target)])
    late = await threads.private(school.teacher, old)
    for table in ("pending_replies", "batch_updates"):
        await conn.execute(f"UPDATE {table} SET due_at = now()")
    await conn.execute(
        "INSERT INTO idempotency_keys (user_id, key, fingerprint, created_at, status, headers, body)"
        " VALUES (1, 'old', '', now() - interval '2 days', 201, '{}', '[]')"
    )

    async with working(settings.model_copy(update={"sweep_interval": 0.05}), pool, *WORKERS):
        for done in (
            "SELECT state = 'sent' FROM batches",
            "SELECT count(*) = 0 FROM pending_replies",
            "SELECT state = 'completed' FROM batch_updates",
            "SELECT count(*) = 0 FROM idempotency_keys",
            f"SELECT count(*) = 1 FROM participants WHERE conversation_id = {late} AND user_id = {target}",
        ):
            await until(partial(conn.fetchval, done))
