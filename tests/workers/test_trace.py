"""What is commanded again, or comes along with something else, stays in the trace of the request that asked for it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import pytest

from service.application.inbox import batch_update
from service.application.messages.reply import Queued, carry_out, validate
from service.application.messages.reply_checks import AddMessage
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.contracts.commands import DeliverReply
from service.domain.participant import Event
from service.runtime.ids import IdBlocks
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import continued
from tests.support.broker import BrokerClient
from tests.support.conversations import Threads
from tests.support.school import School
from workers.batch_update import Updater
from workers.outcome import Done
from workers.reply import ReplyWriter

TRACEPARENTS = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2, 3)]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

Reply = Callable[[], Awaitable[int]]


@pytest.fixture
async def reply(conn: asyncpg.Connection, settings: Settings, threads: Threads, school: School) -> Reply:
    """Puts one more reply in the line of a conversation; its id."""
    queueing = settings.model_copy(update={"queued_reply_participants": 1})
    work = Work(queueing, IdBlocks(), TagSets(), cause=None)
    conversation = await threads.group(school.teacher, school.students[:2])

    async def queue() -> int:
        command = AddMessage(author_id=school.teacher, conversation_id=conversation, body="Hello again")
        async with conn.transaction():
            outcome = await carry_out(work, conn, command, await validate(work, conn, command))
        assert isinstance(outcome, Queued)
        return outcome.reply_id

    return queue


@pytest.fixture
def writer(settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> ReplyWriter:
    """Sweeps and is handed its commands by the test."""
    return ReplyWriter(settings, pool, publisher)


@pytest.fixture
def updater(settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> Updater:
    """Sweeps when the test says so."""
    return Updater(settings, pool, publisher)


async def commanded(outside: BrokerClient, name: str) -> object:
    """The traceparent of the one command that waits under that name."""
    await outside.waiting(name, 1)
    queue = await outside.channel.get_queue(outside.topology.command_queue(name))
    return (await queue.get(no_ack=True)).headers.get("traceparent")


@pytest.mark.parametrize("traceparent", [TRACEPARENTS[0], None])
async def test_a_reply_swept_up(
    reply: Reply, conn: asyncpg.Connection, writer: ReplyWriter, outside: BrokerClient, traceparent: str | None
) -> None:
    with continued(traceparent):
        await reply()
    await conn.execute("UPDATE pending_replies SET due_at = $1", LONG_AGO)

    with continued(TRACEPARENTS[2]):  # of whatever the sweeper itself may be in
        assert await writer.sweep() == 1

    assert await commanded(outside, "reply") == traceparent


@pytest.mark.parametrize("traceparent", [TRACEPARENTS[0], None])
async def test_a_batch_update_swept_up(
    conn: asyncpg.Connection, updater: Updater, outside: BrokerClient, traceparent: str | None
) -> None:
    with continued(traceparent):
        await batch_update.accept(conn, 1, ["1"], Event.STAR)
    await conn.execute("UPDATE batch_updates SET due_at = $1", LONG_AGO)

    assert await updater.sweep() == 1

    assert await commanded(outside, "update") == traceparent


async def test_replies_that_are_written_with_another_have_events_in_their_own_traces(
    reply: Reply, conn: asyncpg.Connection, writer: ReplyWriter
) -> None:
    ids = []
    for traceparent in TRACEPARENTS:
        with continued(traceparent):
            ids.append(await reply())
    command = DeliverReply(reply_id=ids[1])
    redelivered = "00-0000000000000000000000000000000a-000000000000000a-01"  # the command's own, of a publish

    with continued(redelivered):
        assert await writer.handle(command) == Done()

    recorded = await conn.fetch("SELECT traceparent, cause->>'job_id' AS job FROM outbox ORDER BY id")
    assert [row["traceparent"] for row in recorded] == [TRACEPARENTS[0], redelivered, TRACEPARENTS[2]]
    assert {row["job"] for row in recorded} == {command.message_id}
