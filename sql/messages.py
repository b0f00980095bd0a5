"""Messages: which ones a user has, what they say and what they forward."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Many


class MessageKey(NamedTuple):
    """Where a message stands. A batch's template message stands in no conversation."""

    id: int
    conversation_id: int | None
    send_id: int


class ForwardedKey(NamedTuple):
    """Where a forwarded message stands; ``size`` of its text in bytes."""

    id: int
    conversation_id: int
    send_id: int
    size: int


class MessageDetails(NamedTuple):
    """What a message says. ``added_user_ids`` not None: it is generated, and says that these were added.

    ``participating_user_ids``: who has it, or had it and deleted it; ascending.
    """

    id: int
    created_at: datetime
    author_id: int
    body: str
    added_user_ids: list[int] | None
    attachment_ids: list[int]
    forwarded_message_ids: list[int]
    media_id: str | None
    media_type: str | None
    media_title: str | None
    participating_user_ids: list[int]


class AttachmentRow(NamedTuple):
    """A file of messages, as far as the directory knows it; ``size`` in bytes, ``seen_at`` the present time."""

    id: int
    uuid: str | None
    folder_id: int | None
    display_name: str | None
    filename: str | None
    content_type: str | None
    url: str | None
    size: int | None
    created_at: datetime | None
    updated_at: datetime
    unlock_at: datetime | None
    lock_at: datetime | None
    thumbnail_url: str | None
    seen_at: datetime


_VISIBLE = Many("visible_messages", MessageKey)
_FORWARDED = Many("forwarded_messages", ForwardedKey)
_DETAILS = Many("message_details", MessageDetails)
_ATTACHMENTS = Many("attachments_by_id", AttachmentRow)


async def visible_messages(
    conn: Connection, user_id: int, conversation_ids: Sequence[int], message_ids: Sequence[int] | None = None
) -> list[MessageKey]:
    """The messages the user has and has not deleted, by conversation, newest first; all or the given ones."""
    return await _VISIBLE(conn, user_id=user_id, conversation_ids=conversation_ids, message_ids=message_ids)


async def forwarded_messages(conn: Connection, send_ids: Sequence[int], limit: int) -> list[ForwardedKey]:
    """The messages below the given sends, however deep, each once; no more than ``limit``, the nearest."""
    return await _FORWARDED(conn, send_ids=send_ids, limit=limit)


async def message_details(conn: Connection, keys: Sequence[MessageKey]) -> list[MessageDetails]:
    """What each of the messages says, in no order; unknown ones are left out."""
    return await _DETAILS(
        conn,
        message_ids=[key.id for key in keys],
        conversation_ids=[key.conversation_id for key in keys],
        send_ids=[key.send_id for key in keys],
    )


async def attachments_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, AttachmentRow]:
    """Files by id; one that was deleted stays with the messages that carry it (CONTRACT 6.18)."""
    return {row.id: row for row in await _ATTACHMENTS(conn, attachment_ids=ids)}
