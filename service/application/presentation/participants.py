"""Participants as the API shows them, and what the viewer shares with them (canvas/endpoints.md 3.4, 3.5)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.application.address_book import rights
from service.application.address_book.recipients import accounts_with
from service.application.presentation.shapes import CommonContexts, Participant
from service.domain.avatars import Avatars
from service.domain.contexts import Context, ContextType, parse_code
from service.domain.rights import Right
from sql import address_book, people
from sql.connection import Connection
from sql.conversations import ParticipantRow

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

    def add(self, course_id: int | None, group_id: int | None, types: Sequence[str] | None) -> None:
        """One more course, with the person's enrolment types there, or one more group."""
        if course_id is not None:
            self.courses[str(course_id)] = sorted(types or ())
        else:
            self.groups[str(group_id)] = ["Member"]


async def shared_with(conn: Connection, viewer_id: int, user_ids: Sequence[int]) -> dict[int, Common]:
    """The courses and groups that the viewer shares with each user."""
    found = {id_: Common() for id_ in user_ids}
    for shared in await people.shared_contexts(conn, viewer_id, user_ids):
        found[shared.user_id].add(shared.course_id, shared.group_id, shared.types)
    return found


def common_contexts(participants: Iterable[ParticipantRow]) -> dict[int, Common]:
    """What the viewer shares with each participant, as it was read with them."""
    found: dict[int, Common] = {}
    for person in participants:
        if person.id not in found:
            found[person.id] = Common()
            for context in person.contexts or ():
                found[person.id].add(*context)
    return found


async def add_rosters(conn: Connection, viewer_id: int, common: Mapping[int, Common]) -> None:
    """The pseudo course "0" for those whom the viewer sees only as an administrator, on the roster of an account."""
    others = sorted(common.keys() - {viewer_id})
    for user_id in await _on_rosters(conn, viewer_id, others):
        if not common[user_id].courses and not common[user_id].groups:
            common[user_id].courses = dict(_ROSTER_ONLY)


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


def audience_contexts(tags: Sequence[str], audience: Sequence[int], roles: Mapping[str, list[str]]) -> CommonContexts:
    """``{"courses": …, "groups": …}`` of a conversation, from the viewer's own tags there.

    ``roles``: of the one other person, by tag; empty where there are more.
    """
    found: CommonContexts = {"courses": {}, "groups": {}}
    for context in _contexts(tags) if audience else ():
        found[_KEYS[context.type]][str(context.id)] = roles.get(context.code, [])
    return found


_KEYS: Mapping[ContextType, Literal["courses", "groups"]] = {
    ContextType.COURSE: "courses",
    ContextType.GROUP: "groups",
}


def _contexts(tags: Sequence[str]) -> list[Context]:
    return [context for code in tags if (context := parse_code(code)) and context.type in _KEYS]
