"""Conversations as a participant sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import orjson

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


class ParticipantRow(NamedTuple):
    """A participant as others are shown them; the names of one the directory does not know are empty.

    ``contexts``: (course id, group id, enrolment types), as of sql/people.py SharedContext; None when not asked for.
    """

    id: int
    name: str
    full_name: str
    pronouns: str | None
    uuid: str | None
    avatar_url: str | None
    contexts: list[tuple[int | None, int | None, list[str] | None]] | None


class ParticipantConversation(NamedTuple):
    """A conversation with what one of its participants has of it, and who else takes part.

    ``newest_…`` is their newest human message, ``authored_…`` the newest of their own; None: there is none. Of a body
    only the beginning, a character more than a preview shows. JSON: ``participants`` and ``audience_roles``.
    """

    id: int
    subject: str | None
    private: bool
    context_type: str | None
    context_id: int | None
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
    participants: str
    audience_roles: str | None
    context_name: str | None

    @property
    def state(self) -> State:
        """The participant's workflow_state."""
        return state_of(archived=self.archived, unread=self.unread)

    @property
    def context(self) -> Context | None:
        """The context in which the conversation was opened, as stored."""
        return _context(self.context_type, self.context_id)

    def people(self) -> list[ParticipantRow]:
        """The participants, in the order they are shown."""
        return [ParticipantRow(*found) for found in orjson.loads(self.participants)]

    def roles(self) -> dict[str, list[str]]:
        """As what the one other participant is there, by own tag; empty where there are more, or when not asked for."""
        return orjson.loads(self.audience_roles) if self.audience_roles else {}


class _OwnConversationRow(NamedTuple):
    waiting: bool
    context_type: str | None
    context_id: int | None


_OF_PARTICIPANT = Many("conversations_of_participant", ParticipantConversation)
_OWN = One("own_conversation", _OwnConversationRow)
_MARK_READ = Command("mark_read")


def _context(type_: str | None, id_: int | None) -> Context | None:
    return None if type_ is None or id_ is None else Context(ContextType(type_), id_)


async def conversations_of_participant(
    conn: Connection,
    user_id: int,
    scope: Scope,
    conversation_ids: Sequence[int],
    *,
    with_contexts: bool,
    with_roles: bool,
) -> list[ParticipantConversation]:
    """One row per conversation the user participates in, in the order of the ids.

    Deleted ones (message_count 0) are included; ids the user has no row for are left out. ``listed``: whether it is in
    the unfiltered list of that scope. ``with_contexts``: what the user shares with each participant; ``with_roles``:
    as what the one other participant is in the places that the user has the conversation filed under.
    """
    return await _OF_PARTICIPANT(
        conn,
        user_id=user_id,
        scope=scope,
        conversation_ids=conversation_ids,
        with_contexts=with_contexts,
        with_roles=with_roles,
    )


async def find_own_conversation(conn: Connection, user_id: int, conversation_id: int) -> OwnConversation | None:
    """A conversation that the user has; None when they do not take part, or deleted it."""
    row = await _OWN(conn, conversation_id=conversation_id, user_id=user_id)
    if row is None:
        return None
    return OwnConversation(conversation_id, row.waiting, _context(row.context_type, row.context_id))


async def mark_read(conn: Connection, user_id: int, conversation_id: int, *, waits: bool = False) -> None:
    """An unread conversation becomes read; a read or archived one stays as it is. ``waits``: until that is on disk."""
    await _MARK_READ(conn, conversation_id=conversation_id, user_id=user_id, waits=waits)
