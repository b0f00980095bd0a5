"""Chunks: every thread gets the tags that its two people would get alone."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import pytest

from service.application.delivering import ChunkOutcome, deliver_chunk
from service.application.tagging import TagSets
from service.domain import tags
from sql import batches, sends
from sql import tags as tag_rows
from tests.institution import Institution


async def batch_of(
    conn: asyncpg.Connection, sender: int, recipients: Sequence[int], request_tags: Sequence[str], chunk_size: int
) -> tuple[int, int]:
    """An accepted private batch: its id and how many chunks it has."""
    now = datetime.now(UTC)
    send_id = await sends.insert_send(
        conn,
        sends.NewSend(
            author_id=sender,
            created_at=now,
            body="Hello",
            subject=None,
            private=True,
            context_type=None,
            context_id=None,
            root_account_ids=[1],
            attachment_ids=[],
            forwarded_message_ids=[],
            forwarded_conversation_id=None,
            media_id=None,
            has_attachments=False,
            has_media_objects=False,
            automated=True,
        ),
    )
    return await batches.insert_batch(
        conn,
        batches.NewBatch(
            send_id=send_id,
            sender_id=sender,
            tags=request_tags,
            user_note=False,
            recipients=recipients,
            chunk_size=chunk_size,
            created_at=now,
            due_at=now,
        ),
    )


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
            await deliver_chunk(conn, tag_sets, batch_id, position)

    codes = await tag_rows.codes_of_users(conn, [sender, *students])
    expected = {}
    for student in students:
        pair = {sender: codes[sender], student: codes[student]}
        tagging = tags.infer(asked, (), pair, pair)
        expected[student] = tuple(map(list, (tagging.effective, tagging.own[student], tagging.own[sender])))
    assert await stored_tags(conn) == expected


async def test_what_cannot_be_claimed_says_why(conn: asyncpg.Connection, institution: Institution) -> None:
    """A chunk that is done, one whose batch is paused, and one that does not exist."""
    sender, *students = await institution.users(3)
    batch_id, _ = await batch_of(conn, sender, students, [], 1)

    async def deliver(position: int) -> ChunkOutcome:
        async with conn.transaction():
            return await deliver_chunk(conn, TagSets(), batch_id, position)

    assert (await deliver(0)).recipients == 1
    assert await deliver(0) == ChunkOutcome(0, 0, "delivered", "sending")
    await conn.execute("UPDATE batches SET state = 'paused'")
    assert await deliver(1) == ChunkOutcome(0, 0, "pending", "paused")
    assert await deliver(2) == ChunkOutcome(0, 0, None, None)
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 1
