"""How many statements the delivery of a chunk sends, BEGIN, COMMIT and the connection's return included."""

from typing import Any

from service.application.messages.chunk import ChunkOutcome, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.runtime.postgres import create_pool
from service.runtime.settings import Settings
from sql import batches
from sql.chunks import PendingChunk
from sql.connection import Connection
from sql.sends import insert_send
from tests.bench.institution import Course
from tests.support.sends import send_of

# The first makes the tag sets known to the database, the second to the process; the third is like all others.
CHUNKS = 3


async def statements_per_chunk(conn: Connection, settings: Settings, course: Course) -> list[str]:
    """The statements of one chunk, in order, once the process is warm: it knows its tag sets by then."""
    batch_id = await _batch(conn, course)
    pool = await create_pool(settings, size=1)
    tag_sets = TagSets()
    seen: list[str] = []

    def note(query: Any) -> None:
        seen.append(query.query)

    for position in range(CHUNKS):
        seen.clear()
        # The logger stays on the connection when it goes back, so that what the pool sends then counts as well.
        async with pool.acquire() as pooled:
            pooled.add_query_logger(note)
            pending = await read_chunk(pooled, batch_id, position)
            assert isinstance(pending, PendingChunk)
            async with pooled.transaction():
                outcome = await deliver_chunk(pooled, tag_sets, pending, cause=None)
            assert isinstance(outcome, ChunkOutcome)
            assert outcome.recipients == len(course.students) // CHUNKS
    await pool.close()
    return [" ".join(text.split()) for text in seen]


async def _batch(conn: Connection, course: Course) -> int:
    """A batch of a few chunks that no sweeper takes."""
    send_id, now, _ = await insert_send(
        conn, send_of(course.teacher, context_type="Course", context_id=course.id, automated=True)
    )
    stored = await batches.insert_batch(
        conn,
        batches.NewBatch(
            send_id=send_id,
            sender_id=course.teacher,
            tags=[f"course_{course.id}"],
            user_note=False,
            recipients=course.students,
            chunk_size=len(course.students) // CHUNKS,
            created_at=now,
        ),
    )
    return stored.id
