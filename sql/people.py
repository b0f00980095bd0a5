"""People as they are shown in conversations, and what the viewer shares with them."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from service.domain.contexts import Context, ContextType
from sql.connection import Connection
from sql.statements import text_of

_PARTICIPANTS = text_of("participants_of")
_PEOPLE = text_of("people_by_id")
_SHARED_COURSES = text_of("shared_courses")
_SHARED_GROUPS = text_of("shared_groups")
_AUDIENCE_ROLES = text_of("audience_roles")


async def participants_of(conn: Connection, conversation_ids: Sequence[int]) -> dict[int, list[asyncpg.Record]]:
    """Participants by conversation, in the order they are shown.

    Columns: id, name (short name, else name), full_name, pronouns, uuid, avatar_url.
    """
    found: dict[int, list[asyncpg.Record]] = {id_: [] for id_ in conversation_ids}
    for row in await conn.fetch(_PARTICIPANTS, conversation_ids):
        found[row["conversation_id"]].append(row)
    return found


async def people_by_id(conn: Connection, user_ids: Sequence[int]) -> dict[int, asyncpg.Record]:
    """Known users by id, ids ascending; columns as participants_of."""
    return {row["id"]: row for row in await conn.fetch(_PEOPLE, user_ids)}


async def shared_courses(conn: Connection, viewer_id: int, user_ids: Sequence[int]) -> list[tuple[int, int, list[str]]]:
    """(user, course, enrolment types of the user there) for every course the viewer shares with a user."""
    rows = await conn.fetch(_SHARED_COURSES, viewer_id, user_ids)
    return [(row["user_id"], row["course_id"], sorted(row["types"])) for row in rows]


async def shared_groups(conn: Connection, viewer_id: int, user_ids: Sequence[int]) -> list[tuple[int, int]]:
    """(user, group) for every group the viewer shares with a user."""
    return [(r["user_id"], r["group_id"]) for r in await conn.fetch(_SHARED_GROUPS, viewer_id, user_ids)]


async def audience_roles(conn: Connection, asked: Sequence[tuple[int, Context]]) -> list[list[str]]:
    """For each (user, course or group): active enrolment types in the course, ``["Member"]`` of the group."""

    def ids_of(kind: ContextType) -> list[int | None]:
        return [context.id if context.type is kind else None for _, context in asked]

    rows: Sequence[Any] = await conn.fetch(
        _AUDIENCE_ROLES, [user for user, _ in asked], ids_of(ContextType.COURSE), ids_of(ContextType.GROUP)
    )
    return [row["roles"] for row in rows]
