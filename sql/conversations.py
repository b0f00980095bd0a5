"""Conversations as a participant sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg

from service.domain.contexts import Context, ContextType
from sql.connection import Connection
from sql.statements import text_of

_VIEWS = text_of("conversation_views")
_STANDING = text_of("conversation_standing")
_MARK_READ = text_of("mark_read")
_CONTEXT_NAMES = text_of("context_names")


@dataclass(frozen=True, slots=True)
class Standing:
    """A conversation that a user has: whether it waits to be read, and its context as stored."""

    conversation_id: int
    waiting: bool
    context: Context | None


async def conversation_views(conn: Connection, user_id: int, conversation_ids: Sequence[int]) -> list[asyncpg.Record]:
    """One row per conversation the user participates in, in the order of the ids.

    Deleted ones (message_count 0) are included; ids the user has no row for are left out.
    """
    return await conn.fetch(_VIEWS, user_id, conversation_ids)


async def find_standing(conn: Connection, user_id: int, conversation_id: int) -> Standing | None:
    """How the user stands to a conversation; None when they do not take part, or deleted it."""
    row = await conn.fetchrow(_STANDING, conversation_id, user_id)
    if row is None:
        return None
    context = row["context_type"] and Context(ContextType(row["context_type"]), row["context_id"])
    return Standing(conversation_id, row["waiting"], context)


async def mark_read(conn: Connection, user_id: int, conversation_id: int) -> None:
    """An unread conversation becomes read; a read or archived one stays as it is."""
    await conn.execute(_MARK_READ, conversation_id, user_id)


async def context_names(conn: Connection, contexts: Iterable[Context]) -> dict[Context, str]:
    """Names of courses, groups and accounts; unknown ones are left out."""
    ids: dict[ContextType, list[int]] = {kind: [] for kind in ContextType}
    for context in contexts:
        ids[context.type].append(context.id)
    rows = await conn.fetch(_CONTEXT_NAMES, ids[ContextType.COURSE], ids[ContextType.GROUP], ids[ContextType.ACCOUNT])
    return {Context(ContextType(row["type"]), row["id"]): row["name"] for row in rows}
