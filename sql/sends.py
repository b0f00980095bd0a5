"""Sends: what one request said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sql.connection import Connection
from sql.statements import text_of

_INSERT = text_of("insert_send")
_USABLE_ATTACHMENTS = text_of("usable_attachments")
_FORWARDABLE = text_of("forwardable_messages")
_KEEP_MEDIA_OBJECT = text_of("keep_media_object")
_INSERT_JOURNAL_ENTRIES = text_of("insert_journal_entries")


@dataclass(frozen=True, slots=True)
class NewSend:
    """A row of sends before it has an id; columns as in sql/schema.sql."""

    author_id: int
    created_at: datetime
    body: str
    subject: str | None
    private: bool
    context_type: str | None
    context_id: int | None
    root_account_ids: Sequence[int]
    attachment_ids: Sequence[int]
    forwarded_message_ids: Sequence[int]
    forwarded_conversation_id: int | None
    media_id: str | None
    has_attachments: bool
    has_media_objects: bool
    automated: bool


@dataclass(frozen=True, slots=True)
class Forwardable:
    """A message that its reader may forward."""

    id: int
    conversation_id: int
    has_attachments: bool
    has_media_objects: bool


async def insert_send(conn: Connection, send: NewSend) -> int:
    """Stores a send; returns its id."""
    return cast(
        int,
        await conn.fetchval(
            _INSERT,
            send.author_id,
            send.created_at,
            send.body,
            send.subject,
            send.private,
            send.context_type,
            send.context_id,
            send.root_account_ids,
            send.attachment_ids,
            send.forwarded_message_ids,
            send.forwarded_conversation_id,
            send.media_id,
            send.has_attachments,
            send.has_media_objects,
            send.automated,
        ),
    )


async def usable_attachments(conn: Connection, author_id: int, attachment_ids: Sequence[int]) -> list[int]:
    """Those of the ids that the author may send, in the order asked."""
    return [row["id"] for row in await conn.fetch(_USABLE_ATTACHMENTS, author_id, attachment_ids)]


async def forwardable_messages(conn: Connection, author_id: int, message_ids: Sequence[int]) -> list[Forwardable]:
    """Those of the messages that stand in a conversation of the author's."""
    return [Forwardable(**row) for row in await conn.fetch(_FORWARDABLE, author_id, message_ids)]


async def keep_media_object(conn: Connection, media_id: str, media_type: str, owner_id: int) -> None:
    """Remembers a media comment that may be new."""
    await conn.execute(_KEEP_MEDIA_OBJECT, media_id, media_type, owner_id)


async def insert_journal_entries(conn: Connection, send_id: int, user_ids: Sequence[int]) -> None:
    """Adds a faculty journal entry for each user; those that exist stay."""
    await conn.execute(_INSERT_JOURNAL_ENTRIES, send_id, user_ids)
