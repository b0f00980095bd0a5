"""Conversations as the API shows them, from one viewer's point of view (canvas/endpoints.md 3.1).

However many conversations and participants, the number of statements is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg

from service.application.presentation.messages import MessageBook, load_messages, present_messages
from service.application.presentation.participants import Portrait, audience_contexts, common_contexts
from service.application.presentation.viewpoint import Viewpoint, criteria_of
from service.domain.contexts import Context, ContextType, parse_code
from service.domain.participant import properties, workflow_state
from service.domain.previews import preview
from sql import conversations, inbox, people
from sql import messages as message_rows
from sql.connection import Connection

__all__ = ["Viewpoint", "present", "present_messages"]

Messages = Literal["none", "all"] | Mapping[int, int]


async def present(
    conn: Connection,
    view: Viewpoint,
    conversation_ids: Sequence[int],
    *,
    messages: Messages,
    avatars: bool,
    contexts: bool,
    with_context_name: bool,
    uuids: bool,
    forwarded_authors: bool,
    beta: bool = False,
    visible: bool | None = None,
) -> list[dict[str, Any]]:
    """Conversation objects in the order of the ids; ids the viewer takes no part in are left out.

    ``messages``: no such key, all that the viewer has, or one per conversation (its id to the message's).
    ``contexts``: common_courses and common_groups of participants. ``visible``: a fixed answer, or null to
    look whether the viewer's list (scope and filters of ``view``) holds the conversation.
    """
    rows = await conversations.conversation_views(conn, view.user_id, conversation_ids)
    participants = await people.participants_of(conn, [row["id"] for row in rows])
    threads = await _threads(conn, view, rows, messages)
    strangers = await _strangers(conn, threads, participants) if forwarded_authors else {}
    common = None
    if contexts:
        everybody = {p["id"] for group in (*participants.values(), *strangers.values()) for p in group}
        common = await common_contexts(conn, view.user_id, sorted(everybody))
    audiences = {id_: [p["id"] for p in group if p["id"] != view.user_id] for id_, group in participants.items()}
    own_tags = {row["id"]: row["own_tags"] for row in rows}
    page = _Page(
        view=view,
        participants=participants,
        strangers=strangers,
        audiences=audiences,
        audience_contexts=await audience_contexts(conn, view, own_tags, audiences),
        visible=await _visible(conn, view, rows, visible),
        portrait=Portrait(uuids, view.avatars if avatars else None, common),
        threads=threads,
        context_names=await _context_names(conn, rows) if with_context_name else None,
        beta=beta,
    )
    return [page.conversation(row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Threads:
    """Loaded messages and which of them each conversation shows."""

    book: MessageBook
    shown: Mapping[int, Sequence[int]]


async def _threads(
    conn: Connection, view: Viewpoint, rows: Sequence[asyncpg.Record], messages: Messages
) -> _Threads | None:
    if messages == "none":
        return None
    only = None if isinstance(messages, str) else list(messages.values())
    keys = await message_rows.visible_messages(conn, view.user_id, [row["id"] for row in rows], only)
    shown: dict[int, list[int]] = {row["id"]: [] for row in rows}
    for key in keys:
        if key.conversation_id is not None:
            shown[key.conversation_id].append(key.id)
    return _Threads(await load_messages(conn, keys, viewer_id=view.user_id, base_url=view.base_url), shown)


async def _strangers(
    conn: Connection, threads: _Threads | None, participants: Mapping[int, Sequence[asyncpg.Record]]
) -> dict[int, list[asyncpg.Record]]:
    """Authors of forwarded messages who do not take part, by conversation (semantics.md 7.6)."""
    if threads is None:
        return {}
    authors = {
        id_: threads.book.forwarded_authors(shown) - {p["id"] for p in participants[id_]}
        for id_, shown in threads.shown.items()
    }
    wanted = sorted(set().union(*authors.values()))
    known = await people.people_by_id(conn, wanted) if wanted else {}
    return {id_: [known[a] for a in sorted(them) if a in known] for id_, them in authors.items()}


async def _visible(conn: Connection, view: Viewpoint, rows: Sequence[asyncpg.Record], fixed: bool | None) -> set[int]:
    ids = [row["id"] for row in rows]
    if fixed is not None:
        return set(ids) if fixed else set()
    return await inbox.listed(conn, view.user_id, view.scope, await criteria_of(conn, view), ids)


async def _context_names(conn: Connection, rows: Sequence[asyncpg.Record]) -> dict[int, str | None]:
    """The explicit context's name, else that of the conversation's first tag (endpoints.md 3.8)."""
    meant = {row["id"]: _named_context(row) for row in rows}
    names = await conversations.context_names(conn, {context for context in meant.values() if context})
    return {id_: names.get(context) if context else None for id_, context in meant.items()}


def _named_context(row: asyncpg.Record) -> Context | None:
    context = _context(row)
    if context is not None:
        return context
    return next((tag for code in row["conversation_tags"] if (tag := parse_code(code))), None)


def _context(row: asyncpg.Record) -> Context | None:
    if row["context_type"] is None:
        return None
    return Context(ContextType(row["context_type"]), row["context_id"])


@dataclass(frozen=True, slots=True)
class _Page:
    """All that was loaded for one answer."""

    view: Viewpoint
    participants: Mapping[int, Sequence[asyncpg.Record]]
    strangers: Mapping[int, Sequence[asyncpg.Record]]
    audiences: Mapping[int, Sequence[int]]
    audience_contexts: Mapping[int, dict[str, dict[str, list[str]]]]
    visible: set[int]
    portrait: Portrait
    threads: _Threads | None
    context_names: Mapping[int, str | None] | None
    beta: bool

    def conversation(self, row: asyncpg.Record) -> dict[str, Any]:
        """One conversation object; keys in the order of endpoints.md 3.1."""
        id_ = row["id"]
        shown = {
            "id": id_,
            "subject": row["subject"],
            "workflow_state": workflow_state(archived=row["archived"], unread=row["unread"]),
            **self._newest(row),
            "message_count": row["message_count"],
            "subscribed": row["subscribed"],
            "private": row["private"],
            "starred": row["starred"],
            "properties": self._properties(row),
            "audience": self.audiences[id_],
            "audience_contexts": self.audience_contexts[id_],
            "avatar_url": self._avatar(id_),
            "participants": self.portrait.show([*self.participants[id_], *self.strangers.get(id_, ())]),
            "visible": id_ in self.visible,
            "context_code": self._context_code(row),
        }
        if self.context_names is not None:
            shown["context_name"] = self.context_names[id_]
        if self.beta:
            shown["beta"] = row["context_type"] is not None
        if self.threads is not None:
            shown["messages"] = [self.threads.book.render(message) for message in self.threads.shown[id_]]
        return shown

    def _newest(self, row: asyncpg.Record) -> dict[str, Any]:
        received = row["last_message_at"] is not None and row["newest_body"] is not None
        authored = row["authored_body"]
        return {
            "last_message": preview(row["newest_body"]) if received else None,
            "last_message_at": row["last_message_at"],
            "last_authored_message": None if authored is None else preview(authored),
            "last_authored_message_at": row["authored_at"] or row["visible_last_authored_at"],
        }

    def _properties(self, row: asyncpg.Record) -> list[str]:
        if row["last_message_at"] is None:
            last_author = row["authored_body"] is not None
        else:
            last_author = row["newest_author_id"] == self.view.user_id
        return properties(
            last_author=last_author,
            attachments=row["has_attachments"],
            media_objects=row["has_media_objects"],
        )

    def _avatar(self, conversation_id: int) -> str | None:
        stored = {p["id"]: p["avatar_url"] for p in self.participants[conversation_id]}
        own = stored.pop(self.view.user_id, None)
        return self.view.avatars.of_conversation(own, list(stored.values()))

    def _context_code(self, row: asyncpg.Record) -> str | None:
        """An administrator of any account sees the root account in place of a course."""
        context = _context(row)
        if context is None:
            return None
        if context.type is ContextType.COURSE and row["by_administrator"]:
            return Context(ContextType.ACCOUNT, self.view.root_account_id).code
        return context.code
