"""Conversations as the API shows them, from one viewer's point of view (canvas/endpoints.md 3.1).

However many conversations and participants, the number of statements is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from service.application.presentation.messages import MessageBook, load_messages
from service.application.presentation.participants import (
    Common,
    Person,
    Portrait,
    add_rosters,
    audience_contexts,
    common_contexts,
    shared_with,
)
from service.application.presentation.profiles import Profile
from service.application.presentation.shapes import Conversation
from service.application.presentation.viewpoint import Viewpoint, criteria_of
from service.domain.contexts import Context, ContextType
from service.domain.participant import Property, properties
from service.domain.previews import preview
from sql import conversations, inbox, people
from sql.connection import Connection
from sql.conversations import ParticipantConversation, ParticipantRow
from sql.messages import MessageKey, visible_messages

_NO_MESSAGES: Mapping[int, MessageKey] = {}


async def present(
    conn: Connection,
    view: Viewpoint,
    conversation_ids: Sequence[int],
    profile: Profile,
    *,
    uuids: bool,
    beta: bool = False,
    single_messages: Mapping[int, MessageKey] = _NO_MESSAGES,
) -> list[Conversation]:
    """Conversation objects in the order of the ids; ids the viewer takes no part in are left out.

    ``uuids`` and ``beta``: keys that a request asks for. ``single_messages``: by conversation, the message that is
    shown under a profile of one message; the viewer has it.
    """
    rows = await conversations.conversations_of_participant(
        conn,
        view.user_id,
        view.scope,
        conversation_ids,
        with_contexts=profile.contexts,
        with_roles=view.private_enrollments,
    )
    participants = {row.id: row.people() for row in rows}
    threads = await _threads(conn, view, rows, profile, single_messages)
    authors = await _forwarded_authors(conn, threads, participants) if profile.forwarded_authors else {}
    common = await _common(conn, view, rows, participants, authors) if profile.contexts else None
    page = _Page(
        view=view,
        participants=participants,
        forwarded_authors=authors,
        visible=await _visible(conn, view, rows, profile.visible),
        portrait=Portrait(uuids, view.avatars if profile.avatars else None, common),
        threads=threads,
        context_names=profile.context_name,
        beta=beta,
    )
    return [page.conversation(row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Threads:
    """Loaded messages and which of them each conversation shows."""

    book: MessageBook
    shown: Mapping[int, Sequence[int]]


async def _threads(
    conn: Connection,
    view: Viewpoint,
    rows: Sequence[ParticipantConversation],
    profile: Profile,
    single_messages: Mapping[int, MessageKey],
) -> _Threads | None:
    if profile.messages == "none":
        return None
    if profile.messages == "one":
        keys = [single_messages[row.id] for row in rows if row.id in single_messages]
    else:
        keys = await visible_messages(conn, view.user_id, [row.id for row in rows])
    shown: dict[int, list[int]] = {row.id: [] for row in rows}
    for key in keys:
        if key.conversation_id is not None:
            shown[key.conversation_id].append(key.id)
    return _Threads(await load_messages(conn, keys, viewer_id=view.user_id, base_url=view.base_url), shown)


async def _forwarded_authors(
    conn: Connection, threads: _Threads | None, participants: Mapping[int, Sequence[ParticipantRow]]
) -> dict[int, list[Person]]:
    """Authors of forwarded messages who do not take part, by conversation (semantics.md 7.6)."""
    if threads is None:
        return {}
    authors = {
        id_: threads.book.forwarded_authors(shown) - {person.id for person in participants[id_]}
        for id_, shown in threads.shown.items()
    }
    wanted = sorted(set().union(*authors.values()))
    known = await people.people_by_id(conn, wanted) if wanted else {}
    return {id_: [known[a] for a in sorted(found) if a in known] for id_, found in authors.items()}


async def _common(
    conn: Connection,
    view: Viewpoint,
    rows: Sequence[ParticipantConversation],
    participants: Mapping[int, Sequence[ParticipantRow]],
    authors: Mapping[int, Sequence[Person]],
) -> dict[int, Common]:
    """What the viewer shares with everybody who is shown: read with the participants, looked up for the others."""
    common = common_contexts(chain.from_iterable(participants.values()))
    added = sorted({person.id for group in authors.values() for person in group} - common.keys() - {view.user_id})
    if added:
        common |= await shared_with(conn, view.user_id, added)
    if any(row.by_administrator for row in rows):
        await add_rosters(conn, view.user_id, common)
    return common


async def _visible(
    conn: Connection, view: Viewpoint, rows: Sequence[ParticipantConversation], fixed: bool | None
) -> set[int]:
    ids = [row.id for row in rows]
    if fixed is not None:
        return set(ids) if fixed else set()
    if not view.filters:
        return {row.id for row in rows if row.listed}
    return await inbox.listed(conn, view.user_id, view.scope, await criteria_of(conn, view), ids)


@dataclass(frozen=True, slots=True)
class _Page:
    """All that was loaded for one answer."""

    view: Viewpoint
    participants: Mapping[int, Sequence[ParticipantRow]]
    forwarded_authors: Mapping[int, Sequence[Person]]
    visible: set[int]
    portrait: Portrait
    threads: _Threads | None
    context_names: bool
    beta: bool

    def conversation(self, row: ParticipantConversation) -> Conversation:
        """One conversation object; keys in the order of endpoints.md 3.1."""
        id_ = row.id
        audience = [person.id for person in self.participants[id_] if person.id != self.view.user_id]
        shown: Conversation = {
            "id": id_,
            "subject": row.subject,
            "workflow_state": row.state,
            "last_message": _last_message(row),
            "last_message_at": row.last_message_at,
            "last_authored_message": None if row.authored_body is None else preview(row.authored_body),
            "last_authored_message_at": row.authored_at or row.visible_last_authored_at,
            "message_count": row.message_count,
            "subscribed": row.subscribed,
            "private": row.private,
            "starred": row.starred,
            "properties": self._properties(row),
            "audience": audience,
            "audience_contexts": audience_contexts(row.own_tags, audience, row.roles()),
            "avatar_url": self._avatar(id_),
            "participants": self.portrait.show([*self.participants[id_], *self.forwarded_authors.get(id_, ())]),
            "visible": id_ in self.visible,
            "context_code": self._context_code(row),
        }
        if self.context_names:
            shown["context_name"] = row.context_name
        if self.beta:
            shown["beta"] = row.context is not None
        if self.threads is not None:
            shown["messages"] = [self.threads.book.render(message) for message in self.threads.shown[id_]]
        return shown

    def _properties(self, row: ParticipantConversation) -> list[Property]:
        if row.last_message_at is None:
            last_author = row.authored_body is not None
        else:
            last_author = row.newest_author_id == self.view.user_id
        return properties(
            last_author=last_author,
            attachments=row.has_attachments,
            media_objects=row.has_media_objects,
        )

    def _avatar(self, conversation_id: int) -> str | None:
        stored = {person.id: person.avatar_url for person in self.participants[conversation_id]}
        own = stored.pop(self.view.user_id, None)
        return self.view.avatars.of_conversation(own, list(stored.values()))

    def _context_code(self, row: ParticipantConversation) -> str | None:
        """An administrator of any account sees the root account in place of a course."""
        context = row.context
        if context is None:
            return None
        if context.type is ContextType.COURSE and row.by_administrator:
            return Context(ContextType.ACCOUNT, self.view.root_account_id).code
        return context.code


def _last_message(row: ParticipantConversation) -> str | None:
    """The newest message's beginning; nothing in a thread in which nothing was received."""
    return None if row.last_message_at is None or row.newest_body is None else preview(row.newest_body)
