"""A chunk of a batch that was stopped in between: who is still to get it."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from service.application.messages.batch_moves import move_batch
from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_at_once, deliver_chunk, read_chunk
from service.application.messages.create import Accepted, carry_out, validate
from service.application.messages.create_request import CreateConversation
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.domain.batch import Move
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from sql import chunks
from tests.support.batch_story import assert_counted
from tests.support.bulk_send_invariants import copies
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.school import School

LEAVES = "UPDATE enrollments SET workflow_state = 'deleted' WHERE user_id = $1"
IS_DELETED = "UPDATE users SET workflow_state = 'deleted' WHERE id = $1"


class Sender:
    """Accepts bulk sends as a create does, and stops them."""

    def __init__(self, conn: asyncpg.Connection, settings: Settings, user_id: int) -> None:
        self._conn = conn
        self._work = Work(settings, IdBlocks(), TagSets(), None)
        self.user_id = user_id

    async def accept(self, *recipients: str | int, **more: Any) -> int:
        """The batch's id."""
        asked = CreateConversation(
            author_id=self.user_id,
            recipients=[str(recipient) for recipient in recipients],
            body="Hello",
            group_conversation=True,
            bulk_message=True,
            asynchronous=True,
            **more,
        )
        accepted = await carry_out(self._work, self._conn, asked, await validate(self._work, self._conn, asked))
        assert isinstance(accepted, Accepted)
        return accepted.batch_id

    async def move(self, batch_id: int, *steps: Move) -> None:
        """One after the other."""
        for step in steps:
            await move_batch(self._conn, step, batch_id, self.user_id, accounts=None, cause=None)

    async def deliver(self, batch_id: int) -> ChunkOutcome | Nothing:
        """Its one chunk."""
        async with self._conn.transaction():
            return await deliver_at_once(self._conn, TagSets(), batch_id, 0, cause=None)


@pytest.fixture
def sender(conn: asyncpg.Connection, settings: Settings, school: School) -> Sender:
    """The teacher."""
    return Sender(conn, settings, school.teacher)


async def skipped(conn: asyncpg.Connection) -> dict[int, str]:
    """Reasons by user."""
    return {row["user_id"]: row["reason"] for row in await conn.fetch("SELECT * FROM skipped_recipients")}


async def received(conn: asyncpg.Connection, batch_id: int) -> Sequence[int]:
    """Those who have one copy."""
    found = await copies(conn, batch_id)
    assert set(found.values()) <= {1}
    return sorted(found)


async def test_who_was_deleted_or_left_is_skipped_and_the_others_have_it(
    conn: asyncpg.Connection, school: School, sender: Sender
) -> None:
    deleted, left, *others = school.students[:6]
    batch_id = await sender.accept(deleted, left, *others)
    await sender.move(batch_id, Move.PAUSE)
    await conn.execute(IS_DELETED, deleted)
    await conn.execute(LEAVES, left)
    await sender.move(batch_id, Move.RESUME)

    assert await sender.deliver(batch_id) == ChunkOutcome(4, 0, tuple(await conversations(conn)))

    assert await skipped(conn) == {deleted: "user_deleted", left: "no_longer_reachable"}
    assert await received(conn, batch_id) == others
    assert await assert_counted(conn, batch_id) == "sent"
    row = await conn.fetchrow("SELECT delivered, skipped FROM batches")
    assert tuple(row or ()) == (4, 2)


async def conversations(conn: asyncpg.Connection) -> list[int]:
    """Ids in the order of the chunk's recipients; they follow on the chunk's first."""
    rows = await conn.fetch("SELECT c.id - k.first_id AS n, c.id FROM conversations c, chunks k ORDER BY c.id")
    assert [row["n"] for row in rows] == list(range(len(rows)))
    return [row["id"] for row in rows]


async def test_a_batch_that_was_not_stopped_goes_to_everybody_it_was_accepted_for(
    conn: asyncpg.Connection, school: School, sender: Sender
) -> None:
    batch_id = await sender.accept(*school.students[:3])
    await conn.execute(LEAVES, school.students[0])

    await sender.deliver(batch_id)

    assert await received(conn, batch_id) == school.students[:3]


async def test_a_retry_looks_again_too(conn: asyncpg.Connection, school: School, sender: Sender) -> None:
    batch_id = await sender.accept(*school.students[:3])
    await chunks.fail_chunk(conn, batch_id, 0, error="no", cause=None)
    await conn.execute(LEAVES, school.students[0])
    await sender.move(batch_id, Move.RETRY)

    await sender.deliver(batch_id)

    assert await skipped(conn) == {school.students[0]: "no_longer_reachable"}
    assert await assert_counted(conn, batch_id) == "sent"


async def test_where_nobody_is_left_the_batch_ends_all_the_same(
    conn: asyncpg.Connection, school: School, sender: Sender
) -> None:
    """The sender has left the course."""
    batch_id = await sender.accept(*school.students[:3])
    await sender.move(batch_id, Move.PAUSE, Move.RESUME)
    await conn.execute(LEAVES, school.teacher)

    await sender.deliver(batch_id)

    assert await skipped(conn) == dict.fromkeys(school.students[:3], "no_longer_reachable")
    assert await assert_counted(conn, batch_id) == "sent"


async def test_they_are_reached_by_the_way_they_were_reached(
    conn: asyncpg.Connection, settings: Settings, institution: Institution, threads: Threads
) -> None:
    """An audience of another course than the context's, a group, and the participants of a conversation."""
    course, other = await institution.course(), await institution.course()
    teacher, student, assistant, member, fellow = await institution.users(5)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, student)
    await institution.enroll(other, teacher, "Teacher")
    await institution.enroll(other, assistant, "Ta")
    group = await institution.group(members=[teacher, member])
    shared = await threads.group(teacher, [fellow])
    sender = Sender(conn, settings, teacher)
    batch_id = await sender.accept(
        student,
        f"course_{other}_tas",
        f"group_{group}",
        fellow,
        context_code=f"course_{course}",
        from_conversation_id=shared,
    )
    await sender.move(batch_id, Move.PAUSE, Move.RESUME)

    await sender.deliver(batch_id)

    assert await skipped(conn) == {}
    assert await received(conn, batch_id) == [student, assistant, member, fellow]


async def test_a_context_that_is_gone_reaches_nobody(conn: asyncpg.Connection, school: School, sender: Sender) -> None:
    batch_id = await sender.accept(*school.students[:2], context_code=f"course_{school.course}")
    await sender.move(batch_id, Move.PAUSE, Move.RESUME)
    await conn.execute("UPDATE courses SET workflow_state = 'deleted'")

    await sender.deliver(batch_id)

    assert await skipped(conn) == dict.fromkeys(school.students[:2], "no_longer_reachable")


async def test_a_chunk_that_was_read_before_the_batch_was_stopped_is_looked_at_again(
    conn: asyncpg.Connection, school: School, sender: Sender
) -> None:
    batch_id = await sender.accept(*school.students[:3])
    pending = await read_chunk(conn, batch_id, 0)
    assert isinstance(pending, chunks.PendingChunk)
    await conn.execute(LEAVES, school.students[0])
    await sender.move(batch_id, Move.PAUSE, Move.RESUME)

    async with conn.transaction():
        outcome = await deliver_chunk(conn, TagSets(), pending, cause=None)

    assert isinstance(outcome, ChunkOutcome)
    assert await skipped(conn) == {school.students[0]: "no_longer_reachable"}
    assert await received(conn, batch_id) == school.students[1:3]


async def test_who_is_taken_out_is_so_with_the_delivery_or_not_at_all(
    conn: asyncpg.Connection, school: School, sender: Sender
) -> None:
    """The batch is paused between the two statements."""
    batch_id = await sender.accept(*school.students[:3])
    await sender.move(batch_id, Move.PAUSE, Move.RESUME)
    pending = await read_chunk(conn, batch_id, 0)
    assert isinstance(pending, chunks.PendingChunk)
    await conn.execute(LEAVES, school.students[0])
    await conn.execute("""
        CREATE FUNCTION pause_it() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN UPDATE batches SET state = ''paused''; RETURN NULL; END';
        CREATE TRIGGER pause_it AFTER INSERT ON skipped_recipients FOR EACH ROW EXECUTE FUNCTION pause_it();
    """)
    try:
        async with conn.transaction():
            assert await deliver_chunk(conn, TagSets(), pending, cause=None) == Nothing("pending", "paused")
    finally:
        await conn.execute("DROP TRIGGER pause_it ON skipped_recipients; DROP FUNCTION pause_it()")

    assert await skipped(conn) == {}
    assert await conn.fetchval("SELECT recipients FROM chunks") == school.students[:3]
    assert await conn.fetchval("SELECT skipped FROM chunks") == 0


async def test_of_a_monologue_the_sender_is_left(conn: asyncpg.Connection, sender: Sender) -> None:
    """Who writes to themselves alone is reached as long as they are there."""
    batch_id = await sender.accept(sender.user_id)
    await sender.move(batch_id, Move.PAUSE, Move.RESUME)

    await sender.deliver(batch_id)

    assert await skipped(conn) == {}
