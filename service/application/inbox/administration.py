"""Other people's deleted messages, for administrators of the site (canvas/endpoints.md 4.15)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.application.address_book.rights import load
from service.application.inbox import participant
from service.application.messages.tag_sets import TagSets
from service.application.presentation.messages import present_messages
from service.application.presentation.shapes import DeletedMessage, Message
from service.domain.errors import Code, Refusal
from service.domain.rights import ACCOUNT_ADMIN, Right
from sql import administration, messages
from sql.connection import Connection
from sql.messages import MessageKey


async def check_site_admin(conn: Connection, user_id: int) -> None:
    """Refusal(NOT_AUTHORISED) without the administrator's role on the site-admin account."""
    records = (await load(conn, user_id)).roles.admin_records
    if not any(record.site_admin and record.role == ACCOUNT_ADMIN for record in records):
        raise Refusal(Code.NOT_AUTHORISED)


@dataclass(frozen=True, slots=True)
class Deletions:
    """Whose deletions are looked up, and which of them; null: no such condition."""

    user_ids: Sequence[int]
    conversation_id: int | None = None
    before: datetime | None = None
    after: datetime | None = None


async def deleted_messages(
    conn: Connection, wanted: Deletions, *, viewer_id: int, base_url: str
) -> list[DeletedMessage]:
    """Message objects with who deleted them, when and where; newest deletion first."""
    found = await administration.deleted_messages(
        conn, wanted.user_ids, conversation_id=wanted.conversation_id, before=wanted.before, after=wanted.after
    )
    keys = [MessageKey(row.id, row.conversation_id, row.send_id) for row in found]
    shown = await present_messages(conn, keys, viewer_id=viewer_id, base_url=base_url)
    return [
        {
            **message,
            "deleted_at": row.deleted_at,
            "user_id": row.user_id,
            "conversation_id": row.conversation_id,
        }
        for row, message in zip(found, shown, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Restoration:
    """Which message a user gets back."""

    message_id: int
    user_id: int
    conversation_id: int


async def restore(
    conn: Connection, tag_sets: TagSets, wanted: Restoration, *, viewer_id: int, base_url: str
) -> list[Message]:
    """The restored message; none when the user never had it. Runs in the caller's transaction."""
    await participant.restore_message(conn, tag_sets, wanted.user_id, wanted.conversation_id, wanted.message_id)
    keys = await messages.visible_messages(conn, wanted.user_id, [wanted.conversation_id], [wanted.message_id])
    return await present_messages(conn, keys, viewer_id=viewer_id, base_url=base_url)


async def delete_for_all(conn: Connection, user_id: int, conversation_id: int) -> None:
    """Takes a conversation from all of its participants.

    Refusal(NOT_AUTHORISED) without manage_students on the site-admin account, NOT_FOUND for an unknown conversation.
    """
    if not (await load(conn, user_id)).roles.site_wide(Right.MANAGE_STUDENTS):
        raise Refusal(Code.NOT_AUTHORISED)
    if not await administration.delete_for_all(conn, conversation_id):
        raise Refusal(Code.NOT_FOUND)
