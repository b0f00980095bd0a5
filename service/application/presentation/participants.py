"""Participants as the API shows them, and what the viewer shares with them (canvas/endpoints.md 3.4, 3.5)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.application.address_book import rights
from service.application.address_book.recipients import accounts_with
from service.application.presentation.shapes import CommonContexts, Participant
from service.application.presentation.viewpoint import Viewpoint
from service.domain.avatars import Avatars
from service.domain.contexts import Context, ContextType, parse_code
from service.domain.rights import Right
from sql import address_book, people
from sql.connection import Connection

# With more people than that no pictures are sent.
MAX_PICTURED = 100
_ROSTER_ONLY = {"0": ["FakeEnrollment"]}


class Person(Protocol):
    """What is shown of a person, wherever it was read; ``name`` is the short name, else the name."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def full_name(self) -> str: ...
    @property
    def pronouns(self) -> str | None: ...
    @property
    def uuid(self) -> str | None: ...
    @property
    def avatar_url(self) -> str | None: ...


@dataclass(slots=True)
class Common:
    """Courses and groups that a person shares with the viewer; keys are ids as text."""

    courses: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)


async def shared_with(conn: Connection, viewer_id: int, user_ids: Sequence[int]) -> dict[int, Common]:
    """The courses and groups that the viewer shares with each user."""
    found = {id_: Common() for id_ in user_ids}
    for shared in await people.shared_contexts(conn, viewer_id, user_ids):
        if shared.course_id is not None:
            found[shared.user_id].courses[str(shared.course_id)] = sorted(shared.types or ())
        else:
            found[shared.user_id].groups[str(shared.group_id)] = ["Member"]
    return found


async def common_contexts(
    conn: Connection, viewer_id: int, user_ids: Sequence[int], *, administrator: bool = True
) -> dict[int, Common]:
    """What the viewer shares with each user; nothing with themselves.

    Who is seen only through the roster of an account has the pseudo course "0". ``administrator``: whether the viewer
    may be one of any account; if not, there is no such roster.
    """
    others = [id_ for id_ in user_ids if id_ != viewer_id]
    found = {id_: Common() for id_ in user_ids} | await shared_with(conn, viewer_id, others)
    for user_id in await _on_rosters(conn, viewer_id, others) if administrator else ():
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

    def show(self, people: Sequence[Person]) -> list[Participant]:
        """Participant objects in the order of the people."""
        avatars = self.avatars if len(people) <= MAX_PICTURED else None
        return [self._one(person, avatars) for person in people]

    def _one(self, person: Person, avatars: Avatars | None) -> Participant:
        shown: Participant = {
            "id": person.id,
            "name": person.name,
            "full_name": person.full_name,
            "pronouns": person.pronouns,
        }
        if self.uuids:
            shown["uuid"] = person.uuid
        if self.common is not None:
            shown["common_courses"] = self.common[person.id].courses
            shown["common_groups"] = self.common[person.id].groups
        if avatars is not None:
            shown["avatar_url"] = avatars.of_user(person.avatar_url)
        return shown


async def audience_contexts(
    conn: Connection,
    view: Viewpoint,
    tags: Mapping[int, Sequence[str]],
    audiences: Mapping[int, Sequence[int]],
) -> dict[int, CommonContexts]:
    """``{"courses": …, "groups": …}`` by conversation, from the viewer's own tags there.

    Roles are looked up for conversations with exactly one other person, all of them in one statement.
    """
    found: dict[int, CommonContexts] = {}
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


_KEYS: Mapping[ContextType, Literal["courses", "groups"]] = {
    ContextType.COURSE: "courses",
    ContextType.GROUP: "groups",
}


def _contexts(tags: Sequence[str]) -> list[Context]:
    return [context for code in tags if (context := parse_code(code)) and context.type in _KEYS]
