"""The writer of queued replies: once each, in order, and past one that cannot be written."""

from datetime import UTC, datetime

import asyncpg
import pytest

from service.application.messages.reply import Queued, carry_out, validate
from service.application.messages.reply_checks import AddMessage
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.contracts.commands import DeliverReply
from service.runtime.ids import IdBlocks
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.conversations import Threads
from tests.support.participants import messages_of
from tests.support.school import School
from workers.attempts import MAX_ATTEMPTS, MAX_REDELIVERIES, TOO_MANY_REDELIVERIES
from workers.outcome import DeadLetter, Done, Outcome
from workers.reply import ReplyWriter


@pytest.fixture
def writer(settings: Settings, pool: asyncpg.Pool) -> ReplyWriter:
    """A writer that is handed its commands by the test."""
    return ReplyWriter(settings, pool, Publisher(settings, "test"))


@pytest.fixture
async def line(conn: asyncpg.Connection, settings: Settings, threads: Threads, school: School) -> list[Queued]:
    """Three replies that wait in one conversation."""
    always = settings.model_copy(update={"queued_reply_participants": 1})
    work = Work(always, IdBlocks(), TagSets(), cause=None)
    conversation = await threads.group(school.teacher, school.students[:2])
    queued: list[Queued] = []
    for body in ("One", "Two", "Three"):
        command = AddMessage(author_id=school.teacher, conversation_id=conversation, body=body)
        async with conn.transaction():
            outcome = await carry_out(work, conn, command, await validate(work, conn, command))
        assert isinstance(outcome, Queued)
        queued.append(outcome)
    return queued


async def bodies(conn: asyncpg.Connection, school: School) -> list[str]:
    """What a student reads, oldest first."""
    conversation = await conn.fetchval("SELECT id FROM conversations")
    return [body for _, body in await messages_of(conn, conversation, school.students[0])]


async def test_whichever_reply_is_named_the_whole_line_is_written(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, school: School
) -> None:
    assert await writer.handle(DeliverReply(reply_id=line[2].reply_id)) == Done()
    assert await bodies(conn, school) == ["Hello, all", "One", "Two", "Three"]
    for reply in line:
        assert await writer.handle(DeliverReply(reply_id=reply.reply_id)) == Done()
    assert await bodies(conn, school) == ["Hello, all", "One", "Two", "Three"]


async def test_an_unknown_reply_is_nothing_to_do(writer: ReplyWriter, line: list[Queued]) -> None:
    assert await writer.handle(DeliverReply(reply_id=line[-1].reply_id + 1)) == Done()


async def block(conn: asyncpg.Connection, reply: Queued) -> None:
    """Something stands where the reply has to be written."""
    await conn.execute("UPDATE pending_replies SET message_id = 1 WHERE id = $1", reply.reply_id)
    await conn.execute(
        "INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)"
        " SELECT c.id, 1, c.send_id, 0, true FROM conversations c"
    )


async def unblock(conn: asyncpg.Connection, reply: Queued) -> None:
    """Nothing stands there any more."""
    await conn.execute("UPDATE pending_replies SET message_id = 2 WHERE id = $1", reply.reply_id)


async def age(conn: asyncpg.Connection) -> None:
    """The last failure was long ago."""
    await conn.execute("UPDATE pending_replies SET tried_at = tried_at - interval '1 day'")


async def give_up(writer: ReplyWriter, conn: asyncpg.Connection, reply: Queued) -> list[Outcome]:
    """Commands the reply until it is given up, always when its wait is over; the outcomes."""
    outcomes = []
    for _ in range(MAX_ATTEMPTS):
        outcomes.append(await writer.handle(DeliverReply(reply_id=reply.reply_id)))
        await age(conn)
    return outcomes


async def test_a_reply_that_cannot_be_written_is_given_up_in_the_end(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, school: School
) -> None:
    """Until then the others wait behind it."""
    first, second, _ = line
    await block(conn, first)

    assert await writer.handle(DeliverReply(reply_id=first.reply_id)) == Done()
    assert await writer.handle(DeliverReply(reply_id=second.reply_id)) == Done()
    assert await bodies(conn, school) == ["Hello, all"]
    row = await conn.fetchrow("SELECT attempts, due_at, error FROM pending_replies WHERE id = $1", first.reply_id)
    assert row is not None
    assert (row["attempts"], "in the way" in row["error"]) == (1, True)
    assert row["due_at"] > datetime.now(UTC)

    await age(conn)
    outcomes = await give_up(writer, conn, first)
    assert [type(outcome) for outcome in outcomes] == [Done, Done, Done, DeadLetter, DeadLetter]
    assert await writer.handle(DeliverReply(reply_id=second.reply_id)) == Done()
    assert await bodies(conn, school) == ["Hello, all", "Two", "Three"]


async def test_a_failure_counts_against_the_reply_that_was_in_work(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, school: School
) -> None:
    """Not against the one that was commanded, which is written by then."""
    first, second, _ = line
    await block(conn, second)

    assert await writer.handle(DeliverReply(reply_id=first.reply_id)) == Done()

    assert await bodies(conn, school) == ["Hello, all", "One"]
    attempts = await conn.fetch("SELECT attempts FROM pending_replies ORDER BY id")
    assert [row["attempts"] for row in attempts] == [1, 0]


async def test_the_wait_between_attempts_doubles_and_doubled_commands_do_not_count(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, settings: Settings
) -> None:
    first = line[0]
    await block(conn, first)

    waits = []
    for _ in range(MAX_ATTEMPTS - 1):
        for _ in range(3):
            assert await writer.handle(DeliverReply(reply_id=first.reply_id)) == Done()
        waits.append(await conn.fetchval("SELECT due_at - tried_at FROM pending_replies WHERE id = $1", first.reply_id))
        await age(conn)

    assert [wait.total_seconds() / settings.retry_after for wait in waits] == [1, 2, 4, 8]


async def times(conn: asyncpg.Connection) -> list[asyncpg.Record]:
    """By which the participants' lists are ordered."""
    return await conn.fetch(
        "SELECT user_id, last_message_at, last_authored_at, visible_last_authored_at FROM participants ORDER BY user_id"
    )


async def test_a_requeued_reply_is_delivered_after_all_at_its_own_time(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, school: School
) -> None:
    """Of a reply that was given up: while it fails it becomes a dead letter again, and nothing else waits for it."""
    first, second, _ = line
    await block(conn, first)
    await give_up(writer, conn, first)
    assert isinstance(await writer.handle(DeliverReply(reply_id=first.reply_id)), DeadLetter)
    await writer.handle(DeliverReply(reply_id=second.reply_id))
    before = await times(conn)

    await unblock(conn, first)
    assert await writer.handle(DeliverReply(reply_id=first.reply_id)) == Done()
    assert await writer.handle(DeliverReply(reply_id=first.reply_id)) == Done()

    assert await bodies(conn, school) == ["Hello, all", "One", "Two", "Three"]
    assert await times(conn) == before
    assert await conn.fetchval("SELECT count(*) FROM pending_replies") == 0


async def test_a_reply_that_kills_its_workers_is_given_up_and_the_others_pass(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, school: School
) -> None:
    """Whichever command of the line came back: the first reply is what was being written."""
    first, second, third = (DeliverReply(reply_id=reply.reply_id) for reply in line)

    assert await writer.redelivered(third) is None
    assert await writer.handle(second) == Done()
    assert await bodies(conn, school) == ["Hello, all"]
    assert [await writer.redelivered(first) for _ in range(MAX_REDELIVERIES - 1)] == [None] * (MAX_REDELIVERIES - 1)

    assert await writer.redelivered(first) == DeadLetter(TOO_MANY_REDELIVERIES)
    assert await writer.redelivered(first) == DeadLetter(TOO_MANY_REDELIVERIES)
    assert await writer.redelivered(second) is None
    assert await writer.handle(second) == Done()
    assert await writer.handle(third) == Done()
    assert await bodies(conn, school) == ["Hello, all", "Two", "Three"]


async def test_a_reply_behind_one_that_kills_its_workers_is_not_given_up_for_it(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection
) -> None:
    """However often its own command comes back."""
    first, second, _ = (DeliverReply(reply_id=reply.reply_id) for reply in line)

    for _ in range(MAX_REDELIVERIES + 1):
        assert await writer.redelivered(second) is None

    assert await conn.fetchval("SELECT count(*) FROM pending_replies WHERE failed_at IS NOT NULL") == 0
    assert await writer.redelivered(first) == DeadLetter(TOO_MANY_REDELIVERIES)
    failed = await conn.fetch("SELECT id FROM pending_replies WHERE failed_at IS NOT NULL")
    assert [row["id"] for row in failed] == [first.reply_id]


async def test_a_command_that_came_back_for_no_fault_of_its_own_is_carried_out(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, school: School
) -> None:
    command = DeliverReply(reply_id=line[0].reply_id)

    assert await writer.redelivered(command) is None
    assert await writer.handle(command) == Done()

    assert await bodies(conn, school) == ["Hello, all", "One", "Two", "Three"]
    assert await writer.redelivered(command) is None


async def test_no_more_redeliveries_are_forgiven_than_there_were(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection
) -> None:
    command = DeliverReply(reply_id=line[0].reply_id)
    await writer.redelivered(command)

    for _ in range(3):
        await writer.survived(command)

    assert await conn.fetchval("SELECT sum(redeliveries) FROM pending_replies") == 0
