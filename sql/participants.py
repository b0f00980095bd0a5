"""Participant rows, what a user has of a conversation: locked, read and written by the many (canvas/semantics.md 8)."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from service.domain.participant import Participant, Remains, State, state_of
from sql.connection import Connection
from sql.statements import Column, Command, Many


class _ParticipantRow(NamedTuple):
    conversation_id: int
    private: bool
    archived: bool
    unread: bool
    subscribed: bool
    starred: bool
    message_count: int
    last_message_at: datetime | None
    visible_last_authored_at: datetime | None
    has_attachments: bool
    has_media_objects: bool
    tag_set: int


class _RemainsRow(NamedTuple):
    conversation_id: int
    message_count: int
    newest: datetime
    oldest: datetime
    nearest: datetime | None
    authored: datetime | None
    has_attachments: bool
    has_media_objects: bool
    tag_sets: list[int]


_LOCK = Many("lock_participant_rows", _ParticipantRow)
_SAVE = Command("save_participant_rows")
_MARK_ALL_READ = Command("mark_all_read")
_HIDE = Column[int]("hide_messages")
_REMAINS = Many("remains", _RemainsRow)
_WITHIN = Column[int]("conversations_within")


async def lock_participant_rows(conn: Connection, user_id: int, conversation_ids: Sequence[int]) -> list[Participant]:
    """What the user has of these conversations, deleted ones included, locked until the transaction ends.

    Ascending by conversation; ids in which the user takes no part are left out.
    """
    return [
        Participant(
            conversation_id=row.conversation_id,
            private=row.private,
            state=state_of(archived=row.archived, unread=row.unread),
            subscribed=row.subscribed,
            starred=row.starred,
            message_count=row.message_count,
            last_message_at=row.last_message_at,
            visible_last_authored_at=row.visible_last_authored_at,
            has_attachments=row.has_attachments,
            has_media_objects=row.has_media_objects,
            tag_set=row.tag_set,
        )
        for row in await _LOCK(conn, user_id=user_id, conversation_ids=conversation_ids)
    ]


async def save_participant_rows(conn: Connection, user_id: int, changed: Sequence[Participant]) -> None:
    """Writes rows that were locked; they count as touched now."""
    await _SAVE(
        conn,
        user_id=user_id,
        conversation_ids=[own.conversation_id for own in changed],
        archived=[own.state is State.ARCHIVED for own in changed],
        unread=[own.state is State.UNREAD for own in changed],
        subscribed=[own.subscribed for own in changed],
        starred=[own.starred for own in changed],
        message_count=[own.message_count for own in changed],
        last_message_at=[own.last_message_at for own in changed],
        visible_last_authored_at=[own.visible_last_authored_at for own in changed],
        has_attachments=[own.has_attachments for own in changed],
        has_media_objects=[own.has_media_objects for own in changed],
        tag_set=[own.tag_set for own in changed],
    )


async def mark_all_read(conn: Connection, user_id: int, conversation_ids: Sequence[int] | None = None) -> None:
    """Everything unread that the user has received becomes read, of these conversations; null: of all.

    The archive stays as it is.
    """
    await _MARK_ALL_READ(conn, user_id=user_id, conversation_ids=conversation_ids)


async def hide_messages(
    conn: Connection, user_id: int, conversation_ids: Sequence[int], message_ids: Sequence[int] | None
) -> set[int]:
    """Deletes messages for the user: all of these conversations, or the given ones among them.

    Returns the conversations that lost any; ids of messages that the user does not have are ignored.
    """
    return set(await _HIDE(conn, user_id=user_id, conversation_ids=conversation_ids, message_ids=message_ids))


async def remains_of(conn: Connection, user_id: int, conversation_ids: Sequence[int]) -> dict[int, Remains]:
    """What the user still has of each conversation; one without a human message is left out."""
    return {
        row.conversation_id: Remains(
            message_count=row.message_count,
            newest=row.newest,
            oldest=row.oldest,
            nearest=row.nearest,
            authored=row.authored,
            has_attachments=row.has_attachments,
            has_media_objects=row.has_media_objects,
            tag_sets=row.tag_sets,
        )
        for row in await _REMAINS(conn, user_id=user_id, conversation_ids=conversation_ids)
    }


async def conversations_within(
    conn: Connection, conversation_ids: Sequence[int], account_ids: Collection[int]
) -> set[int]:
    """Those of the conversations whose root accounts are all among ``account_ids``, and which have any."""
    return set(await _WITHIN(conn, conversation_ids=conversation_ids, account_ids=sorted(account_ids)))
