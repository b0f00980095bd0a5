"""Baseline: a loop over the recipients, one transaction each, statement by statement, on tables as Canvas has them.

What a private message to one person does, by canvas/semantics.md 1, 2.2, 7 and 9. The statements are prepared once and
nothing is computed between them, so this is faster than any such application can be.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from time import perf_counter

import asyncpg

_TABLES = """
CREATE SCHEMA canvas;
CREATE TABLE canvas.users (id bigint PRIMARY KEY, unread_conversations_count integer NOT NULL DEFAULT 0);
CREATE TABLE canvas.conversations (
    id bigserial PRIMARY KEY, private_hash varchar(255), subject varchar(255), context_type varchar(255),
    context_id bigint, tags text, root_account_ids text, has_attachments boolean NOT NULL DEFAULT false,
    has_media_objects boolean NOT NULL DEFAULT false, updated_at timestamp
);
CREATE UNIQUE INDEX ON canvas.conversations (private_hash);
CREATE TABLE canvas.conversation_participants (
    id bigserial PRIMARY KEY, conversation_id bigint NOT NULL REFERENCES canvas.conversations, user_id bigint NOT NULL,
    last_message_at timestamp, subscribed boolean DEFAULT true, workflow_state varchar(255) NOT NULL,
    last_authored_at timestamp, visible_last_authored_at timestamp, has_attachments boolean NOT NULL DEFAULT false,
    has_media_objects boolean NOT NULL DEFAULT false, message_count integer DEFAULT 0, label varchar(255), tags text,
    private_hash varchar(255), root_account_ids text, updated_at timestamp
);
CREATE UNIQUE INDEX ON canvas.conversation_participants (conversation_id, user_id);
CREATE UNIQUE INDEX ON canvas.conversation_participants (private_hash, user_id) WHERE private_hash IS NOT NULL;
CREATE INDEX ON canvas.conversation_participants (user_id, last_message_at);
CREATE INDEX ON canvas.conversation_participants (conversation_id);
CREATE TABLE canvas.conversation_messages (
    id bigserial PRIMARY KEY, conversation_id bigint REFERENCES canvas.conversations, author_id bigint,
    created_at timestamp, generated boolean, body text, forwarded_message_ids text, media_comment_id varchar(255),
    context_type varchar(255), context_id bigint, attachment_ids text, has_attachments boolean, root_account_ids text
);
CREATE INDEX ON canvas.conversation_messages (author_id);
CREATE INDEX ON canvas.conversation_messages (conversation_id, created_at);
CREATE TABLE canvas.conversation_message_participants (
    id bigserial PRIMARY KEY, conversation_message_id bigint REFERENCES canvas.conversation_messages,
    conversation_participant_id bigint, tags text, user_id bigint, workflow_state varchar(255), deleted_at timestamp,
    root_account_ids text
);
CREATE UNIQUE INDEX ON canvas.conversation_message_participants (conversation_participant_id, conversation_message_id);
CREATE INDEX ON canvas.conversation_message_participants (user_id, conversation_message_id);
CREATE INDEX ON canvas.conversation_message_participants (conversation_message_id);
"""

_FIND = """
SELECT c.* FROM canvas.conversation_participants p JOIN canvas.conversations c ON c.id = p.conversation_id
WHERE p.user_id = $1 AND p.private_hash = $2
"""
_OPEN = """
INSERT INTO canvas.conversations (private_hash, subject, context_type, context_id, tags, root_account_ids, updated_at)
VALUES ($1, 'Field trip', 'Course', 1, 'course_1', '1', now()) RETURNING id
"""
_JOIN = """
INSERT INTO canvas.conversation_participants
    (conversation_id, user_id, workflow_state, private_hash, tags, root_account_ids, updated_at)
VALUES ($1, $2, 'read', $3, 'course_1', '1', now()) RETURNING id
"""
_LOCK = "SELECT id FROM canvas.conversations WHERE id = $1 FOR UPDATE"
_WRITE = """
INSERT INTO canvas.conversation_messages
    (conversation_id, author_id, created_at, generated, body, context_type, context_id, root_account_ids)
VALUES ($1, $2, now(), false, $3, 'Account', 1, '1') RETURNING id
"""
_SHOW = """
INSERT INTO canvas.conversation_message_participants
    (conversation_message_id, conversation_participant_id, user_id, tags, workflow_state, root_account_ids)
VALUES ($1, $2, $3, 'course_1', 'active', '1')
"""
_COUNT = "UPDATE canvas.conversation_participants SET message_count = message_count + 1 WHERE conversation_id = $1"
_RECEIVE = """
UPDATE canvas.conversation_participants SET last_message_at = now(), workflow_state = 'unread'
WHERE conversation_id = $1 AND user_id <> $2 AND (subscribed OR last_message_at IS NULL)
"""
_AUTHOR = """
UPDATE canvas.conversation_participants SET last_authored_at = now(), visible_last_authored_at = now()
WHERE conversation_id = $1 AND user_id = $2
"""
_UNREAD = "UPDATE canvas.users SET unread_conversations_count = unread_conversations_count + 1 WHERE id = $1"
_TOUCH = "UPDATE canvas.conversations SET updated_at = now() WHERE id = $1"

_BODY = "We meet at nine at the main gate. Please bring a packed lunch and something to write with."


async def canvas_rate(url: str, recipients: Sequence[int], sender: int, *, loops: int) -> float:
    """Recipients a second of so many loops side by side, each with a share of the recipients."""
    conns = [await asyncpg.connect(url) for _ in range(loops)]
    try:
        await conns[0].execute(_TABLES)
        await conns[0].executemany("INSERT INTO canvas.users VALUES ($1)", [(u,) for u in (sender, *recipients)])
        shares = [recipients[n::loops] for n in range(loops)]
        start = perf_counter()
        await asyncio.gather(*(_deliver(c, share, sender) for c, share in zip(conns, shares, strict=True)))
        seconds = perf_counter() - start
        assert await conns[0].fetchval("SELECT count(*) FROM canvas.conversation_messages") == len(recipients)
        await conns[0].execute("DROP SCHEMA canvas CASCADE")
    finally:
        for conn in conns:
            await conn.close()
    return len(recipients) / seconds


async def _deliver(conn: asyncpg.Connection, recipients: Sequence[int], sender: int) -> None:
    for recipient in recipients:
        async with conn.transaction():
            await _deliver_one(conn, sender, recipient)


async def _deliver_one(conn: asyncpg.Connection, sender: int, recipient: int) -> None:
    pair = sorted((sender, recipient))
    key = hashlib.sha1(f"{pair[0]},{pair[1]}|Course:1".encode()).hexdigest()
    assert await conn.fetchrow(_FIND, sender, key) is None
    thread = await conn.fetchval(_OPEN, key)
    rows = {user: await conn.fetchval(_JOIN, thread, user, key) for user in (sender, recipient)}
    await conn.fetchval(_LOCK, thread)
    message = await conn.fetchval(_WRITE, thread, sender, _BODY)
    for user, row in rows.items():
        await conn.execute(_SHOW, message, row, user)
    await conn.execute(_COUNT, thread)
    await conn.execute(_RECEIVE, thread, sender)
    await conn.execute(_AUTHOR, thread, sender)
    await conn.execute(_UNREAD, recipient)
    await conn.execute(_TOUCH, thread)
