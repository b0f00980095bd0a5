"""Conversations as a participant sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from service.domain.contexts import Context, ContextType
from service.domain.participant import State, state_of
from service.domain.scopes import Scope
from sql.connection import Connection
from sql.statements import Command, Many, One


@dataclass(frozen=True, slots=True)
class OwnConversation:
    """A conversation that a user has: whether it waits to be read, and its context as stored."""

    conversation_id: int
    waiting: bool
    context: Context | None


class ParticipantConversation(NamedTuple):
    """A conversation with what one of its participants has of it.

    ``newest_…`` is their newest human message, ``authored_…`` the newest of their own; None: there is none. Of a body
    only the beginning, a character more than a preview shows.
    """

    id: int
    subject: str | None
    private: bool
    context_type: str | None
    context_id: int | None
    conversation_tags: list[str]
    own_tags: list[str]
    unread: bool
    archived: bool
    subscribed: bool
    starred: bool
    message_count: int
    last_message_at: datetime | None
    visible_last_authored_at: datetime | None
    has_attachments: bool
    has_media_objects: bool
    newest_author_id: int | None
    newest_body: str | None
    authored_at: datetime | None
    authored_body: str | None
    by_administrator: bool
    listed: bool

    @property
    def state(self) -> State:
        """The participant's workflow_state."""
        return state_of(archived=self.archived, unread=self.unread)

    @property
    def context(self) -> Context | None:
        """The context in which the conversation was opened, as stored."""
        return _context(self.context_type, self.context_id)


class _OwnConversationRow(NamedTuple):
    waiting: bool
    context_type: str | None
    context_id: int | None


class _ContextName(NamedTuple):
    type: str
    id: int
    name: str


_OF_PARTICIPANT = Many("conversations_of_participant", ParticipantConversation)
_OWN = One("own_conversation", _OwnConversationRow)
_MARK_READ = Command("mark_read")
_CONTEXT_NAMES = Many("context_names", _ContextName)


def _context(type_: str | None, id_: int | None) -> Context | None:
    return None if type_ is None or id_ is None else Context(ContextType(type_), id_)


async def conversations_of_participant(
    conn: Connection, user_id: int, scope: Scope, conversation_ids: Sequence[int]
) -> list[ParticipantConversation]:
    """One row per conversation the user participates in, in the order of the ids.

    Deleted ones (message_count 0) are included; ids the user has no row for are left out. ``listed``: whether it is in
    the unfiltered list of that scope.
    """
    return await _OF_PARTICIPANT(conn, user_id=user_id, scope=scope, conversation_ids=conversation_ids)


async def find_own_conversation(conn: Connection, user_id: int, conversation_id: int) -> OwnConversation | None:
    """A conversation that the user has; None when they do not take part, or deleted it."""
    row = await _OWN(conn, conversation_id=conversation_id, user_id=user_id)
    if row is None:
        return None
    return OwnConversation(conversation_id, row.waiting, _context(row.context_type, row.context_id))


async def mark_read(conn: Connection, user_id: int, conversation_id: int) -> None:
    """An unread conversation becomes read; a read or archived one stays as it is."""
    await _MARK_READ(conn, conversation_id=conversation_id, user_id=user_id)


async def context_names(conn: Connection, contexts: Iterable[Context]) -> dict[Context, str]:
    """Names of courses, groups and accounts; unknown ones are left out."""
    ids: dict[ContextType, list[int]] = {kind: [] for kind in ContextType}
    for context in contexts:
        ids[context.type].append(context.id)
    rows = await _CONTEXT_NAMES(
        conn,
        course_ids=ids[ContextType.COURSE],
        group_ids=ids[ContextType.GROUP],
        account_ids=ids[ContextType.ACCOUNT],
    )
    return {Context(ContextType(row.type), row.id): row.name for row in rows}
