"""Messages: which ones a user has, what they say and what they forward."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from sql.connection import Connection
from sql.statements import text_of

_VISIBLE = text_of("visible_messages")
_FORWARDED = text_of("forwarded_messages")
_DETAILS = text_of("message_details")
_ATTACHMENTS = text_of("attachments_by_id")


class MessageKey(NamedTuple):
    """Where a message stands. A batch's template message stands in no conversation."""

    id: int
    conversation_id: int | None
    send_id: int


async def visible_messages(
    conn: Connection, user_id: int, conversation_ids: Sequence[int], message_ids: Sequence[int] | None = None
) -> list[MessageKey]:
    """The messages the user has and has not deleted, by conversation, newest first; all or the given ones."""
    return _keys(await conn.fetch(_VISIBLE, user_id, conversation_ids, message_ids))


async def forwarded_messages(conn: Connection, send_ids: Sequence[int]) -> list[MessageKey]:
    """All messages below the given sends, however deep, each once."""
    return _keys(await conn.fetch(_FORWARDED, send_ids))


async def message_details(conn: Connection, keys: Sequence[MessageKey]) -> list[asyncpg.Record]:
    """Text, author, time, attachment ids, forwarded ids, media and participating users of each message."""
    return await conn.fetch(
        _DETAILS, [k.id for k in keys], [k.conversation_id for k in keys], [k.send_id for k in keys]
    )


async def attachments_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, asyncpg.Record]:
    """Files that still exist, by id."""
    return {row["id"]: row for row in await conn.fetch(_ATTACHMENTS, ids)}


def _keys(rows: Sequence[asyncpg.Record]) -> list[MessageKey]:
    return [MessageKey(row["id"], row["conversation_id"], row["send_id"]) for row in rows]
