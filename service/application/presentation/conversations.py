"""Conversations as the API shows them, from one viewer's point of view (canvas/endpoints.md 3.1).

However many conversations and participants, the number of statements is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.application.presentation.messages import MessageBook, load_messages
from service.application.presentation.participants import Person, Portrait, audience_contexts, common_contexts
from service.application.presentation.profiles import Profile
from service.application.presentation.shapes import CommonContexts, Conversation
from service.application.presentation.viewpoint import Viewpoint, criteria_of
from service.domain.contexts import Context, ContextType, parse_code
from service.domain.participant import Property, properties
from service.domain.previews import preview
from sql import conversations, inbox, people
from sql.connection import Connection
from sql.conversations import ParticipantConversation
from sql.messages import visible_messages

_NO_MESSAGES: Mapping[int, int] = {}


async def present(
    conn: Connection,
    view: Viewpoint,
    conversation_ids: Sequence[int],
    profile: Profile,
    *,
    uuids: bool,
    beta: bool = False,
    message_ids: Mapping[int, int] = _NO_MESSAGES,
) -> list[Conversation]:
    """Conversation objects in the order of the ids; ids the viewer takes no part in are left out.

    ``uuids`` and ``beta``: keys that a request asks for. ``message_ids``: by conversation, the message that is shown
    under a profile of one message.
    """
    rows = await conversations.conversations_of_participant(conn, view.user_id, view.scope, conversation_ids)
    participants = await people.participants_of(conn, [row.id for row in rows])
    threads = await _threads(conn, view, rows, profile, message_ids)
    authors = await _forwarded_authors(conn, threads, participants) if profile.forwarded_authors else {}
    common = None
    if profile.contexts:
        groups: list[Sequence[Person]] = [*participants.values(), *authors.values()]
        shown = sorted({person.id for group in groups for person in group})
        administrator = any(row.by_administrator for row in rows)
        common = await common_contexts(conn, view.user_id, shown, administrator=administrator)
    audiences = {id_: [p.id for p in group if p.id != view.user_id] for id_, group in participants.items()}
    own_tags = {row.id: row.own_tags for row in rows}
    page = _Page(
        view=view,
        participants=participants,
        forwarded_authors=authors,
        audiences=audiences,
        audience_contexts=await audience_contexts(conn, view, own_tags, audiences),
        visible=await _visible(conn, view, rows, profile.visible),
        portrait=Portrait(uuids, view.avatars if profile.avatars else None, common),
        threads=threads,
        context_names=await _context_names(conn, rows) if profile.context_name else None,
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
    message_ids: Mapping[int, int],
) -> _Threads | None:
    if profile.messages == "none":
        return None
    only = list(message_ids.values()) if profile.messages == "one" else None
    keys = await visible_messages(conn, view.user_id, [row.id for row in rows], only)
    shown: dict[int, list[int]] = {row.id: [] for row in rows}
    for key in keys:
        if key.conversation_id is not None:
            shown[key.conversation_id].append(key.id)
    return _Threads(await load_messages(conn, keys, viewer_id=view.user_id, base_url=view.base_url), shown)


async def _forwarded_authors(
    conn: Connection, threads: _Threads | None, participants: Mapping[int, Sequence[Person]]
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


async def _visible(
    conn: Connection, view: Viewpoint, rows: Sequence[ParticipantConversation], fixed: bool | None
) -> set[int]:
    ids = [row.id for row in rows]
    if fixed is not None:
        return set(ids) if fixed else set()
    if not view.filters:
        return {row.id for row in rows if row.listed}
    return await inbox.listed(conn, view.user_id, view.scope, await criteria_of(conn, view), ids)


async def _context_names(conn: Connection, rows: Sequence[ParticipantConversation]) -> dict[int, str | None]:
    """The explicit context's name, else that of the conversation's first tag (endpoints.md 3.8)."""
    meant = {row.id: _named_context(row) for row in rows}
    names = await conversations.context_names(conn, {context for context in meant.values() if context})
    return {id_: names.get(context) if context else None for id_, context in meant.items()}


def _named_context(row: ParticipantConversation) -> Context | None:
    if row.context is not None:
        return row.context
    return next((tag for code in row.conversation_tags if (tag := parse_code(code))), None)


@dataclass(frozen=True, slots=True)
class _Page:
    """All that was loaded for one answer."""

    view: Viewpoint
    participants: Mapping[int, Sequence[Person]]
    forwarded_authors: Mapping[int, Sequence[Person]]
    audiences: Mapping[int, list[int]]
    audience_contexts: Mapping[int, CommonContexts]
    visible: set[int]
    portrait: Portrait
    threads: _Threads | None
    context_names: Mapping[int, str | None] | None
    beta: bool

    def conversation(self, row: ParticipantConversation) -> Conversation:
        """One conversation object; keys in the order of endpoints.md 3.1."""
        id_ = row.id
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
            "audience": self.audiences[id_],
            "audience_contexts": self.audience_contexts[id_],
            "avatar_url": self._avatar(id_),
            "participants": self.portrait.show([*self.participants[id_], *self.forwarded_authors.get(id_, ())]),
            "visible": id_ in self.visible,
            "context_code": self._context_code(row),
        }
        if self.context_names is not None:
            shown["context_name"] = self.context_names[id_]
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
