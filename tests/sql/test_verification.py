"""The proof after a bulk send finds what went wrong."""

from datetime import UTC, datetime

import asyncpg
import pytest

from sql.verification import Copies, count_copies

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_SENDER = 1
_STUDENTS = [11, 12, 13]


async def _thread(conn: asyncpg.Connection, conversation: int, user: int, send: int) -> None:
    await conn.execute("INSERT INTO conversations VALUES ($1, $2, 0, 0, false, false)", conversation, send)
    await _join(conn, conversation, user)


async def _join(conn: asyncpg.Connection, conversation: int, user: int) -> None:
    await conn.executemany(
        """INSERT INTO participants (conversation_id, user_id, last_message_at, tag_set, message_count, unread,
                                     has_attachments, has_media_objects)
           VALUES ($1, $2, $3, 0, 1, true, false, false)""",
        [(conversation, user, _NOW), (conversation, _SENDER, None)],
    )


@pytest.fixture
async def send(conn: asyncpg.Connection) -> int:
    """A send to three students in threads 101 to 103, as its batch records it."""
    send: int = await conn.fetchval(
        """INSERT INTO sends (author_id, created_at, body, private, root_account_ids)
           VALUES ($1, $2, 'Hello', true, '{1}') RETURNING id""",
        _SENDER,
        _NOW,
    )
    await conn.execute(
        """INSERT INTO batches (id, send_id, sender_id, message_id, tags, user_note, state, total, created_at)
           OVERRIDING SYSTEM VALUE VALUES (1, $1, $2, 999, '{}', false, 'sent', 3, $3)""",
        send,
        _SENDER,
        _NOW,
    )
    await conn.execute(
        """INSERT INTO chunks (batch_id, position, first_id, recipients, state, due_at, updated_at)
           VALUES (1, 0, 101, $1, 'delivered', $2, $2)""",
        _STUDENTS,
        _NOW,
    )
    return send


async def test_one_copy_each_is_right(conn: asyncpg.Connection, send: int) -> None:
    for position, student in enumerate(_STUDENTS):
        await _thread(conn, 101 + position, student, send)

    assert await count_copies(conn, 1) == Copies(recipients=3, duplicates=0, missing=0)


async def test_a_copy_in_a_thread_that_was_there_before_counts(conn: asyncpg.Connection, send: int) -> None:
    await _thread(conn, 101, 11, send)
    await _thread(conn, 102, 12, send)
    await _thread(conn, 50, 13, send - 1)
    await conn.execute("INSERT INTO messages VALUES (50, 103, $1, 0, false)", send)
    await conn.execute("UPDATE chunks SET conversation_ids = '{101,102,50}'")

    assert await count_copies(conn, 1) == Copies(recipients=3, duplicates=0, missing=0)


async def test_no_copy_and_two_copies_are_found(conn: asyncpg.Connection, send: int) -> None:
    await _thread(conn, 101, 11, send)
    await _thread(conn, 102, 12, send)
    await _thread(conn, 202, 12, send)

    assert await count_copies(conn, 1) == Copies(recipients=3, duplicates=1, missing=1)


async def test_a_copy_elsewhere_than_the_batch_says_is_missing(conn: asyncpg.Connection, send: int) -> None:
    await _thread(conn, 101, 11, send)
    await _thread(conn, 102, 12, send)
    await _thread(conn, 203, 13, send)

    assert await count_copies(conn, 1) == Copies(recipients=3, duplicates=0, missing=1)


async def test_copies_of_another_send_do_not_count(conn: asyncpg.Connection, send: int) -> None:
    for position, student in enumerate(_STUDENTS):
        await _thread(conn, 101 + position, student, send)
        await _thread(conn, 201 + position, student, send + 1)

    assert await count_copies(conn, 1) == Copies(recipients=3, duplicates=0, missing=0)
