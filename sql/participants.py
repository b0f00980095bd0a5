"""Users' views of conversations: locked, read and written by the many (canvas/semantics.md 8)."""

from collections.abc import Collection, Sequence
from datetime import datetime

import asyncpg

from service.domain.participant import Remains, State, View
from sql.connection import Connection
from sql.statements import text_of

_LOCK = text_of("lock_views")
_SAVE = text_of("save_views")
_MARK_ALL_READ = text_of("mark_all_read")
_HIDE = text_of("hide_messages")
_REMAINS = text_of("remains")
_WITHIN = text_of("conversations_within")


async def lock_views(conn: Connection, user_id: int, conversation_ids: Sequence[int]) -> list[View]:
    """The user's views of these conversations, deleted ones included, locked until the transaction ends.

    Ascending by conversation; ids in which the user takes no part are left out.
    """
    return [_view(row) for row in await conn.fetch(_LOCK, user_id, conversation_ids)]


def _view(row: asyncpg.Record) -> View:
    state = State.ARCHIVED if row["archived"] else State.UNREAD if row["unread"] else State.READ
    return View(
        conversation_id=row["conversation_id"],
        private=row["private"],
        state=state,
        subscribed=row["subscribed"],
        starred=row["starred"],
        message_count=row["message_count"],
        last_message_at=row["last_message_at"],
        visible_last_authored_at=row["visible_last_authored_at"],
        has_attachments=row["has_attachments"],
        has_media_objects=row["has_media_objects"],
        tag_set=row["tag_set"],
    )


async def save_views(conn: Connection, user_id: int, views: Sequence[View], *, now: datetime) -> None:
    """Writes views that were locked; they count as touched now."""
    await conn.execute(
        _SAVE,
        user_id,
        now,
        [view.conversation_id for view in views],
        [view.state is State.ARCHIVED for view in views],
        [view.state is State.UNREAD for view in views],
        [view.subscribed for view in views],
        [view.starred for view in views],
        [view.message_count for view in views],
        [view.last_message_at for view in views],
        [view.visible_last_authored_at for view in views],
        [view.has_attachments for view in views],
        [view.has_media_objects for view in views],
        [view.tag_set for view in views],
    )


async def mark_all_read(conn: Connection, user_id: int, *, now: datetime) -> None:
    """Everything unread that the user has received becomes read; the archive stays as it is."""
    await conn.execute(_MARK_ALL_READ, user_id, now)


async def hide_messages(
    conn: Connection, user_id: int, conversation_ids: Sequence[int], message_ids: Sequence[int] | None, *, now: datetime
) -> set[int]:
    """Deletes messages from the user's views: all of these conversations, or the given ones among them.

    Returns the conversations that lost any; ids of messages that the user does not have are ignored.
    """
    rows = await conn.fetch(_HIDE, user_id, conversation_ids, message_ids, now)
    return {row["conversation_id"] for row in rows}


async def remains_of(conn: Connection, user_id: int, conversation_ids: Sequence[int]) -> dict[int, Remains]:
    """What the user still has of each conversation; one without a human message is left out."""
    rows = await conn.fetch(_REMAINS, user_id, conversation_ids)
    return {
        row["conversation_id"]: Remains(
            message_count=row["message_count"],
            newest=row["newest"],
            oldest=row["oldest"],
            nearest=row["nearest"],
            authored=row["authored"],
            has_attachments=row["has_attachments"],
            has_media_objects=row["has_media_objects"],
            tag_sets=row["tag_sets"],
        )
        for row in rows
    }


async def conversations_within(
    conn: Connection, conversation_ids: Sequence[int], account_ids: Collection[int]
) -> set[int]:
    """Those of the conversations whose root accounts are all among ``account_ids``, and which have any."""
    return {row["id"] for row in await conn.fetch(_WITHIN, conversation_ids, sorted(account_ids))}
