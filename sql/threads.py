"""Conversations and their participants as sends open and change them."""

from collections.abc import Sequence

from sql.chunks import Message
from sql.connection import Connection
from sql.statements import text_of

_OPEN_GROUP = text_of("open_group")
_RETAG_PARTICIPANTS = text_of("retag_participants")
_CONVERSATION_TAG_SETS = text_of("conversation_tag_sets")
_RETAG_CONVERSATIONS = text_of("retag_conversations")
_ORDER = text_of("order_of_new_threads")


async def open_group(
    conn: Connection,
    message: Message,
    *,
    conversation_id: int,
    tag_set: int,
    participants: Sequence[int],
    own_tag_sets: Sequence[int],
) -> None:
    """Opens one non-private conversation; ``own_tag_sets`` runs parallel to ``participants``, the author among them."""
    await conn.execute(
        _OPEN_GROUP,
        conversation_id,
        message.send_id,
        tag_set,
        message.has_attachments,
        message.has_media_objects,
        message.author_id,
        message.created_at,
        participants,
        own_tag_sets,
    )


async def retag_participants(conn: Connection, rows: Sequence[tuple[int, int, int]]) -> None:
    """Sets tags of (conversation id, user id, tag set) rows."""
    conversations, users, tag_sets = zip(*sorted(rows), strict=True)
    await conn.execute(_RETAG_PARTICIPANTS, conversations, users, tag_sets)


async def conversation_tag_sets(conn: Connection, conversation_ids: Sequence[int]) -> dict[int, int]:
    """Tag set of each conversation."""
    return {row["id"]: row["tag_set"] for row in await conn.fetch(_CONVERSATION_TAG_SETS, conversation_ids)}


async def retag_conversations(conn: Connection, rows: Sequence[tuple[int, int]]) -> None:
    """Sets tags of (conversation id, tag set) rows."""
    conversations, tag_sets = zip(*sorted(rows), strict=True)
    await conn.execute(_RETAG_CONVERSATIONS, conversations, tag_sets)


async def order_of_new_threads(conn: Connection, user_id: int, conversation_ids: Sequence[int]) -> list[int]:
    """The conversations in the order in which their author sees them after a bulk create."""
    return [row["conversation_id"] for row in await conn.fetch(_ORDER, user_id, conversation_ids)]
