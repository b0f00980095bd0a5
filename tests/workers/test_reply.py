"""The writer of queued replies: once each, in order, and past one that cannot be written."""

from datetime import UTC, datetime

import asyncpg
import pytest

from service.application.reply_checks import AddMessage
from service.application.replying import Queued, Replier
from service.application.tagging import TagSets
from service.contracts.commands import DeliverReply
from service.runtime.broker import Publisher
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from tests.rows import messages_of
from tests.school import School
from tests.thread import Threads
from workers.reply import ReplyWriter
from workers.verdict import Discard, Done


@pytest.fixture
def writer(settings: Settings, pool: asyncpg.Pool) -> ReplyWriter:
    """A writer that is handed its commands by the test."""
    return ReplyWriter(settings, pool, Publisher(settings, "test"))


@pytest.fixture
async def line(conn: asyncpg.Connection, settings: Settings, threads: Threads, school: School) -> list[Queued]:
    """Three replies that wait in one conversation."""
    always = settings.model_copy(update={"queued_reply_participants": 1})
    replier = Replier(always, IdBlocks(), TagSets())
    conversation = await threads.group(school.teacher, school.students[:2])
    queued: list[Queued] = []
    for body in ("One", "Two", "Three"):
        command = AddMessage(author_id=school.teacher, conversation_id=conversation, body=body)
        async with conn.transaction():
            outcome = await replier.add(conn, command, await replier.validate(conn, command))
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


async def test_a_reply_that_cannot_be_written_is_given_up_in_the_end(
    writer: ReplyWriter, line: list[Queued], conn: asyncpg.Connection, school: School
) -> None:
    """Until then the others wait behind it."""
    first, second, _ = line
    await conn.execute("UPDATE pending_replies SET message_id = 1 WHERE id = $1", first.reply_id)
    await conn.execute(
        "INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)"
        " SELECT c.id, 1, c.send_id, 0, true FROM conversations c"
    )

    assert await writer.handle(DeliverReply(reply_id=first.reply_id)) == Done()
    assert await writer.handle(DeliverReply(reply_id=second.reply_id)) == Done()
    assert await bodies(conn, school) == ["Hello, all"]
    row = await conn.fetchrow("SELECT attempts, due_at, error FROM pending_replies WHERE id = $1", first.reply_id)
    assert row is not None
    assert (row["attempts"], "in the way" in row["error"]) == (1, True)
    assert row["due_at"] > datetime.now(UTC)

    verdicts = [await writer.handle(DeliverReply(reply_id=first.reply_id)) for _ in range(4)]
    assert [type(verdict) for verdict in verdicts] == [Done, Done, Done, Discard]
    assert await writer.handle(DeliverReply(reply_id=second.reply_id)) == Done()
    assert await bodies(conn, school) == ["Hello, all", "Two", "Three"]
