"""Chunks: every thread gets the tags that its two people would get alone."""

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import pytest

from service.application.directory.events import apply
from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_at_once, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.domain import tags
from sql import batches
from sql.connection import Connection
from sql.sends import insert_send
from sql.tags import codes_of_users
from tests.support.institution import Institution
from tests.support.sends import send_of
from tests.support.user_merges import merged
from tests.support.waiting import until


async def batch_of(
    conn: Connection,
    sender: int,
    recipients: Sequence[int],
    request_tags: Sequence[str],
    chunk_size: int,
    *,
    members_of_course: int | None = None,
) -> tuple[int, int]:
    """An accepted private batch: its id and how many chunks it has."""
    send_id, now, _ = await insert_send(conn, send_of(sender, automated=True))
    stored = await batches.insert_batch(
        conn,
        batches.NewBatch(
            send_id=send_id,
            sender_id=sender,
            tags=request_tags,
            user_note=False,
            recipients=recipients,
            chunk_size=chunk_size,
            created_at=now,
            members_of_course=members_of_course,
        ),
    )
    return stored.id, stored.chunks


async def stored_tags(conn: asyncpg.Connection) -> dict[int, tuple[list[str], list[str], list[str]]]:
    """By recipient: tags of the conversation, of the recipient's row and of the sender's."""
    rows = await conn.fetch("""
        SELECT theirs.user_id, whole.codes AS conversation, own.codes AS own, sent.codes AS sender
        FROM participants theirs
        JOIN participants mine ON mine.conversation_id = theirs.conversation_id AND mine.user_id <> theirs.user_id
        JOIN conversations c ON c.id = theirs.conversation_id
        JOIN tag_sets whole ON whole.id = c.tag_set
        JOIN tag_sets own ON own.id = theirs.tag_set
        JOIN tag_sets sent ON sent.id = mine.tag_set
        WHERE theirs.last_message_at IS NOT NULL
    """)
    return {row["user_id"]: (row["conversation"], row["own"], row["sender"]) for row in rows}


@pytest.mark.parametrize("seed", range(6))
async def test_a_chunk_tags_each_thread_as_its_two_people_would_be_tagged_alone(
    conn: asyncpg.Connection, institution: Institution, seed: int
) -> None:
    """Whatever mixture of current and concluded courses and groups meets in a chunk (semantics.md 4.2)."""
    chance = random.Random(seed)
    courses = [await institution.course() for _ in range(3)]
    sender, *students = await institution.users(41)
    for course in courses:
        state = chance.choice(["active", "active", "completed"])
        await institution.enroll(course, sender, "Teacher", state=state)
        share = chance.choice([0.3, 0.9, 1.0])
        for state in ("active", "completed"):
            await institution.enroll(course, [s for s in students if chance.random() < share], state=state)
            share = chance.choice([0.0, 0.2])
    await institution.group(members=[sender, *chance.sample(students, 20)])
    asked = [f"course_{course}" for course in chance.sample(courses, chance.randint(0, 2))]

    batch_id, chunks = await batch_of(conn, sender, students, asked, chance.choice([1, 7, 40]))
    tag_sets = TagSets()
    for position in range(chunks):
        async with conn.transaction():
            await deliver_at_once(conn, tag_sets, batch_id, position, cause=None)

    assert await stored_tags(conn) == await tagged_alone(conn, sender, students, asked)


async def tagged_alone(
    conn: Connection, sender: int, students: Sequence[int], asked: Sequence[str]
) -> dict[int, tuple[list[str], ...]]:
    """What ``stored_tags`` has to hold, worked out pair by pair."""
    codes = await codes_of_users(conn, [sender, *students])
    expected = {}
    for student in students:
        pair = {sender: codes[sender], student: codes[student]}
        tagging = tags.infer(asked, (), pair, pair)
        expected[student] = tuple(map(list, (tagging.effective, tagging.own[student], tagging.own[sender])))
    return expected


async def test_members_of_different_courses_that_were_asked_for_are_told_apart(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    """Together they are the recipients, one for one, as the members of one course often are."""
    courses = [await institution.course() for _ in range(2)]
    sender, *students = await institution.users(5)
    for course, members in zip(courses, (students[:2], students[2:]), strict=True):
        await institution.enroll(course, sender, "Teacher")
        await institution.enroll(course, members)
    asked = [f"course_{course}" for course in courses]
    batch_id, _ = await batch_of(conn, sender, students, asked, 10)

    async with conn.transaction():
        await deliver_at_once(conn, TagSets(), batch_id, 0, cause=None)

    assert await stored_tags(conn) == await tagged_alone(conn, sender, students, asked)


async def test_a_group_that_was_asked_for_beside_a_course_is_found_for_its_members(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course = await institution.course()
    sender, *students = await institution.users(5)
    await institution.enroll(course, sender, "Teacher")
    await institution.enroll(course, students)
    group = await institution.group(members=[sender, *students[:2]])
    asked = [f"course_{course}", f"group_{group}"]
    batch_id, _ = await batch_of(conn, sender, students, asked, 10)

    async with conn.transaction():
        await deliver_at_once(conn, TagSets(), batch_id, 0, cause=None)

    found = await stored_tags(conn)
    assert found == await tagged_alone(conn, sender, students, asked)
    assert [whole for whole, _, _ in found.values()].count(asked) == 2


async def test_members_of_one_course_are_tagged_as_they_were_when_the_send_was_accepted(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    """Who left meanwhile was written to as a member."""
    course = await institution.course()
    sender, stays, leaves = await institution.users(3)
    await institution.enroll(course, sender, "Teacher")
    await institution.enroll(course, [stays, leaves])
    asked = [f"course_{course}"]
    batch_id, _ = await batch_of(conn, sender, [stays, leaves], asked, 10, members_of_course=course)
    await conn.execute("UPDATE enrollments SET workflow_state = 'deleted' WHERE user_id = $1", leaves)

    async with conn.transaction():
        await deliver_at_once(conn, TagSets(), batch_id, 0, cause=None)

    assert await stored_tags(conn) == dict.fromkeys((stays, leaves), (asked, asked, asked))


@pytest.mark.parametrize("state", ["completed", "deleted"])
async def test_without_the_sender_in_the_course_the_members_are_looked_up_again(
    conn: asyncpg.Connection, institution: Institution, state: str
) -> None:
    course = await institution.course()
    sender, stays, leaves = await institution.users(3)
    await institution.enroll(course, sender, "Teacher")
    await institution.enroll(course, [stays, leaves])
    asked = [f"course_{course}"]
    batch_id, _ = await batch_of(conn, sender, [stays, leaves], asked, 10, members_of_course=course)
    await conn.execute("UPDATE enrollments SET workflow_state = $2 WHERE user_id = $1", sender, state)
    await conn.execute("UPDATE enrollments SET workflow_state = 'deleted' WHERE user_id = $1", leaves)

    async with conn.transaction():
        await deliver_at_once(conn, TagSets(), batch_id, 0, cause=None)

    shared = asked if state == "completed" else []
    assert await stored_tags(conn) == {stays: (shared, shared, shared), leaves: ([], [], [])}


async def test_a_chunk_that_a_merge_has_changed_after_it_was_read_is_read_again(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    """Its recipients have other places then, and the tags that were worked out for them are others' tags."""
    courses = [await institution.course() for _ in range(2)]
    sender, old, one, two, target = await institution.users(5)
    for course, members in zip(courses, ([one], [two, target]), strict=True):
        await institution.enroll(course, sender, "Teacher")
        await institution.enroll(course, members)
    asked = [f"course_{course}" for course in courses]
    batch_id, _ = await batch_of(conn, sender, [old, one, two], asked, 10)
    pending = await read_chunk(conn, batch_id, 0)
    assert not isinstance(pending, Nothing)

    await apply(conn, [merged(old, target)])
    async with conn.transaction():
        assert isinstance(await deliver_chunk(conn, TagSets(), pending, cause=None), ChunkOutcome)

    assert await stored_tags(conn) == await tagged_alone(conn, sender, [one, two, target], asked)


async def test_what_cannot_be_delivered_says_why(conn: asyncpg.Connection, institution: Institution) -> None:
    """A chunk that is done, one whose batch is paused, and one that does not exist."""
    sender, *students = await institution.users(3)
    batch_id, _ = await batch_of(conn, sender, students, [], 1)

    async def deliver(position: int) -> ChunkOutcome | Nothing:
        async with conn.transaction():
            return await deliver_at_once(conn, TagSets(), batch_id, position, cause=None)

    assert isinstance(await deliver(0), ChunkOutcome)
    assert await deliver(0) == Nothing("delivered", "sending")
    await conn.execute("UPDATE batches SET state = 'paused'")
    assert await deliver(1) == Nothing("pending", "paused")
    assert await deliver(2) == Nothing(None, None)
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 1


@pytest.mark.parametrize("meanwhile", ["delivered", "failed", "skipped"])
async def test_a_chunk_settled_between_reading_and_writing_is_left_alone(
    conn: asyncpg.Connection, institution: Institution, meanwhile: str
) -> None:
    """A command that came twice: both read the chunk as pending, one writes it."""
    sender, *students = await institution.users(3)
    batch_id, _ = await batch_of(conn, sender, students, [], 10)
    pending = await read_chunk(conn, batch_id, 0)
    assert not isinstance(pending, Nothing)
    await conn.execute("UPDATE chunks SET state = $1", meanwhile)
    async with conn.transaction():
        assert await deliver_chunk(conn, TagSets(), pending, cause=None) == Nothing(meanwhile, "created")
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 0
    assert await conn.fetchval("SELECT count(*) FROM participants") == 0
    assert await conn.fetchval("SELECT delivered FROM batches") == 0
    assert await conn.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_delivery_that_waits_for_another_send_does_not_lock_the_batch(
    pool: asyncpg.Pool, institution: Institution
) -> None:
    """All deliveries of a batch meet in its row, so it is locked after everything else that may have to wait."""
    sender, student = await institution.users(2)

    async def deliver(conn: Connection, batch_id: int) -> ChunkOutcome | Nothing:
        async with conn.transaction():
            return await deliver_at_once(conn, TagSets(), batch_id, 0, cause=None)

    async with pool.acquire() as observer, pool.acquire() as first, pool.acquire() as second:
        rival, _ = await batch_of(observer, sender, [student], [], 1)
        waiting, _ = await batch_of(observer, sender, [student], [], 1)
        async with first.transaction():
            await deliver_at_once(first, TagSets(), rival, 0, cause=None)
            delivery = asyncio.create_task(deliver(second, waiting))
            await until(lambda: _is_blocked(observer, second.get_server_pid()))
            assert await observer.fetchval("SELECT id FROM batches WHERE id = $1 FOR UPDATE NOWAIT", waiting) == waiting
        with pytest.raises(asyncpg.UniqueViolationError):
            await delivery
        assert await deliver(second, waiting) == ChunkOutcome(
            1, 1, (await observer.fetchval("SELECT id FROM conversations"),)
        )


async def _is_blocked(conn: Connection, pid: int) -> bool:
    return bool(await conn.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid))
