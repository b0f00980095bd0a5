"""Sends: what one request said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from service.domain.tags import Codes
from sql.connection import Connection
from sql.statements import Column, Command, Many, Single
from sql.tags import CodeRow, held_codes


@dataclass(frozen=True, slots=True)
class NewSend:
    """A row of sends before it is stored; columns as in sql/schema.sql. ``media_type``: of a media object.

    ``id``: of the row in whose place it is stored; None for a new one.
    """

    author_id: int
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
    media_type: str | None = None
    id: int | None = None
    created_at: datetime | None = None  # none: the moment in which it is stored


class StoredSendRow(NamedTuple):
    """What the statement says of a stored send; ``codes``: JSON."""

    id: int
    created_at: datetime
    codes: str | None


class StoredSend(NamedTuple):
    """The row's id, when it was said, and the codes of those whom the caller named."""

    id: int
    created_at: datetime
    codes: dict[int, Codes]


@dataclass(frozen=True, slots=True)
class Message:
    """What a delivery writes: a stored send, and what its conversations need of it."""

    send_id: int
    author_id: int
    created_at: datetime
    private: bool
    context_key: int
    has_attachments: bool
    has_media_objects: bool


@dataclass(frozen=True, slots=True)
class Forwardable:
    """A message that its reader may forward."""

    id: int
    conversation_id: int
    has_attachments: bool
    has_media_objects: bool


_INSERT = Single("insert_send", StoredSendRow)
_RENEW = Single("renew_send", StoredSendRow)
_USABLE_ATTACHMENTS = Column[int]("usable_attachments")
_FORWARDABLE = Many("forwardable_messages", Forwardable)
_KEEP_MEDIA_OBJECT = Command("keep_media_object")
_INSERT_JOURNAL_ENTRIES = Command("insert_journal_entries")


async def insert_send(conn: Connection, send: NewSend, filed_user_ids: Sequence[int] = ()) -> StoredSend:
    """Stores a send; ``filed_user_ids``: whose codes the caller needs to file it."""
    parameters = _parameters(send, filed_user_ids)
    return _stored(await _INSERT(conn, created_at=send.created_at, **parameters), filed_user_ids)


async def renew_send(conn: Connection, send_id: int, send: NewSend, filed_user_ids: Sequence[int] = ()) -> StoredSend:
    """Stores a send in the place of one that nobody has yet, as of now."""
    parameters = _parameters(send, filed_user_ids)
    return _stored(await _RENEW(conn, send_id=send_id, **parameters), filed_user_ids)


def _parameters(send: NewSend, filed_user_ids: Sequence[int]) -> dict[str, Any]:
    return {
        "author_id": send.author_id,
        "body": send.body,
        "subject": send.subject,
        "private": send.private,
        "context_type": send.context_type,
        "context_id": send.context_id,
        "root_account_ids": send.root_account_ids,
        "attachment_ids": send.attachment_ids,
        "forwarded_message_ids": send.forwarded_message_ids,
        "forwarded_conversation_id": send.forwarded_conversation_id,
        "media_id": send.media_id,
        "has_attachments": send.has_attachments,
        "has_media_objects": send.has_media_objects,
        "automated": send.automated,
        "filed_user_ids": filed_user_ids,
    }


def _stored(row: StoredSendRow, filed_user_ids: Sequence[int]) -> StoredSend:
    held = [CodeRow(*found) for found in orjson.loads(row.codes or "[]")]
    return StoredSend(row.id, row.created_at, held_codes(filed_user_ids, held))


async def usable_attachments(conn: Connection, author_id: int, attachment_ids: Sequence[int]) -> list[int]:
    """Those of the ids that the author may send, in the order asked."""
    return await _USABLE_ATTACHMENTS(conn, author_id=author_id, attachment_ids=attachment_ids)


async def forwardable_messages(conn: Connection, author_id: int, message_ids: Sequence[int]) -> list[Forwardable]:
    """Those of the messages that the author has and has not deleted, in the conversation of the first one."""
    return await _FORWARDABLE(conn, author_id=author_id, message_ids=message_ids)


async def keep_media_object(conn: Connection, media_id: str, media_type: str, owner_id: int) -> None:
    """Remembers a media comment that may be new."""
    await _KEEP_MEDIA_OBJECT(conn, media_id=media_id, media_type=media_type, owner_id=owner_id)


async def insert_journal_entries(conn: Connection, send_id: int, user_ids: Sequence[int]) -> None:
    """Adds a faculty journal entry for each user; those that exist stay."""
    await _INSERT_JOURNAL_ENTRIES(conn, send_id=send_id, user_ids=user_ids)
