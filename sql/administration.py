"""What only a site administrator may see and do with other people's messages (canvas/endpoints.md 4.15)."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import text_of

_DELETED = text_of("deleted_messages")
_RESTORE = text_of("restore_message")
_DELETE_FOR_ALL = text_of("delete_for_all")


class DeletedMessage(NamedTuple):
    """A message that one user has deleted."""

    id: int
    conversation_id: int
    send_id: int
    user_id: int
    deleted_at: datetime


async def deleted_messages(
    conn: Connection,
    user_ids: Sequence[int],
    *,
    conversation_id: int | None = None,
    before: datetime | None = None,
    after: datetime | None = None,
) -> list[DeletedMessage]:
    """What these users have deleted, newest deletion first; null conditions do not count."""
    rows = await conn.fetch(_DELETED, user_ids, conversation_id, before, after)
    return [DeletedMessage(*row) for row in rows]


async def restore_message(conn: Connection, conversation_id: int, user_id: int, message_id: int) -> None:
    """The user has the message again; one that was not deleted stays as it is."""
    await conn.execute(_RESTORE, conversation_id, user_id, message_id)


async def delete_for_all(conn: Connection, conversation_id: int) -> bool:
    """Takes the conversation from everybody; whether there is such a conversation."""
    return bool(await conn.fetchval(_DELETE_FOR_ALL, conversation_id))
