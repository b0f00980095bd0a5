"""Participants as the API shows them, and what the viewer shares with them (canvas/endpoints.md 3.4, 3.5)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from service.application.address_book import rights
from service.application.address_book.recipients import accounts_with
from service.application.presentation.viewpoint import Viewpoint
from service.domain.avatars import Avatars
from service.domain.contexts import Context, ContextType, parse_code
from service.domain.rights import Right
from sql import address_book, people
from sql.connection import Connection

# With more people than that nobody's picture is sent.
MAX_PICTURED = 100
_ROSTER_ONLY = {"0": ["FakeEnrollment"]}


@dataclass(slots=True)
class Common:
    """Courses and groups that somebody shares with the viewer; keys are ids as text."""

    courses: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)


async def common_contexts(conn: Connection, viewer_id: int, user_ids: Sequence[int]) -> dict[int, Common]:
    """What the viewer shares with each user; nothing with themselves.

    Who is seen only through the roster of an account has the pseudo course "0".
    """
    found = {id_: Common() for id_ in user_ids}
    others = [id_ for id_ in user_ids if id_ != viewer_id]
    for user_id, course_id, types in await people.shared_courses(conn, viewer_id, others):
        found[user_id].courses[str(course_id)] = types
    for user_id, group_id in await people.shared_groups(conn, viewer_id, others):
        found[user_id].groups[str(group_id)] = ["Member"]
    for user_id in await _on_rosters(conn, viewer_id, others):
        if not found[user_id].courses and not found[user_id].groups:
            found[user_id].courses = dict(_ROSTER_ONLY)
    return found


async def _on_rosters(conn: Connection, viewer_id: int, user_ids: Sequence[int]) -> Collection[int]:
    """Those of the users whom the viewer sees by read_roster on an account."""
    known = await rights.load(conn, viewer_id)
    if not known.roles.admin_records:
        return ()
    accounts = await accounts_with(conn, known, Right.READ_ROSTER)
    return await address_book.reachable_by_roster(conn, user_ids, accounts) if accounts else ()


@dataclass(frozen=True, slots=True)
class Portrait:
    """Which keys of people an answer shows; null avatars or common means the keys are absent."""

    uuids: bool
    avatars: Avatars | None
    common: Mapping[int, Common] | None

    def show(self, rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
        """Participant objects in the order of the rows."""
        avatars = self.avatars if len(rows) <= MAX_PICTURED else None
        return [self._one(row, avatars) for row in rows]

    def _one(self, row: asyncpg.Record, avatars: Avatars | None) -> dict[str, Any]:
        shown = {
            "id": row["id"],
            "name": row["name"],
            "full_name": row["full_name"],
            "pronouns": row["pronouns"],
        }
        if self.uuids:
            shown["uuid"] = row["uuid"]
        if self.common is not None:
            shown["common_courses"] = self.common[row["id"]].courses
            shown["common_groups"] = self.common[row["id"]].groups
        if avatars is not None:
            shown["avatar_url"] = avatars.of_user(row["avatar_url"])
        return shown


async def audience_contexts(
    conn: Connection,
    view: Viewpoint,
    tags: Mapping[int, Sequence[str]],
    audiences: Mapping[int, Sequence[int]],
) -> dict[int, dict[str, dict[str, list[str]]]]:
    """``{"courses": …, "groups": …}`` by conversation, from the viewer's own tags there.

    Roles are looked up for conversations with exactly one other person, all of them in one statement.
    """
    found: dict[int, dict[str, dict[str, list[str]]]] = {}
    asked: list[tuple[int, int, Context]] = []
    for conversation_id, audience in audiences.items():
        found[conversation_id] = {"courses": {}, "groups": {}}
        for context in _contexts(tags[conversation_id]) if audience else ():
            found[conversation_id][_KEYS[context.type]][str(context.id)] = []
            if len(audience) == 1 and view.private_enrollments:
                asked.append((conversation_id, audience[0], context))
    if asked:
        roles = await people.audience_roles(conn, [(user, context) for _, user, context in asked])
        for (conversation_id, _, context), held in zip(asked, roles, strict=True):
            found[conversation_id][_KEYS[context.type]][str(context.id)] = held
    return found


_KEYS = {ContextType.COURSE: "courses", ContextType.GROUP: "groups"}


def _contexts(tags: Sequence[str]) -> list[Context]:
    return [context for code in tags if (context := parse_code(code)) and context.type in _KEYS]
