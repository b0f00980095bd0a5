"""What only a site administrator may see and do with other people's messages (canvas/endpoints.md 4.15)."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Command, Many, Value


class DeletedMessage(NamedTuple):
    """A message that one user has deleted."""

    id: int
    conversation_id: int
    send_id: int
    user_id: int
    deleted_at: datetime


_DELETED = Many("deleted_messages", DeletedMessage)
_RESTORE = Command("restore_message")
_DELETE_FOR_ALL = Value[bool]("delete_for_all")


async def deleted_messages(
    conn: Connection,
    user_ids: Sequence[int],
    *,
    conversation_id: int | None = None,
    before: datetime | None = None,
    after: datetime | None = None,
) -> list[DeletedMessage]:
    """What these users have deleted, newest deletion first; null conditions do not count."""
    return await _DELETED(conn, user_ids=user_ids, conversation_id=conversation_id, before=before, after=after)


async def restore_message(conn: Connection, conversation_id: int, user_id: int, message_id: int) -> None:
    """The user has the message again; one that was not deleted stays as it is."""
    await _RESTORE(conn, conversation_id=conversation_id, user_id=user_id, message_id=message_id)


async def delete_for_all(conn: Connection, conversation_id: int) -> bool:
    """Takes the conversation from all participants; whether there is such a conversation."""
    return await _DELETE_FOR_ALL(conn, conversation_id=conversation_id)
