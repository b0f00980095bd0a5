"""Finding recipients: contexts first, then people, as one list (canvas/endpoints.md 4.13)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.application.address_book import rights
from service.application.address_book.rights import UserRights
from service.application.presentation.shapes import Participant, RecipientContext
from service.application.search import contexts, people
from service.application.search.people import Reach
from service.domain.avatars import Avatars
from service.domain.bookmarks import Bookmark, MarkedPage, PersonMark, PlaceMark
from service.domain.contexts import Context, ContextType
from service.domain.errors import Code, Refusal
from service.domain.search import Kind, Place, hidden
from service.domain.user_forms import parse_user_form
from sql.connection import Connection
from sql.masquerade import find_masquerade_target


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. ``terms`` null: no search at all, only a place to browse."""

    terms: Sequence[str] | None = None
    place: Place | None = None
    kinds: frozenset[Kind] = frozenset(Kind)
    excluded_users: Sequence[int] = ()
    excluded_codes: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    messageable_only: bool = False
    synthetic: bool = False
    include_inactive: bool = False

    @property
    def lists_contexts(self) -> bool:
        """Whether contexts are part of the answer: inside a place only on demand."""
        inside = self.place is None or self.synthetic or self.place.parts is not None
        return inside and bool(self.kinds - {Kind.USER})

    @property
    def lists_people(self) -> bool:
        """Whether people are: not as long as the parts of a place are browsed."""
        if Kind.USER not in self.kinds:
            return False
        if self.place is None:
            return True
        return self.place.parts is None and not (self.lists_contexts and contexts.browsed(self.place, self.terms))


@dataclass(frozen=True, slots=True)
class Found:
    """A page of the list; ``following`` is where the next one begins, null on the last."""

    items: list[RecipientContext | Participant]
    following: Bookmark | None


async def search(conn: Connection, viewer_id: int, asked: Search, page: MarkedPage, avatars: Avatars) -> Found:
    """A page of what the viewer finds; Refusal(NOT_FOUND) when the place does not exist.

    The number of statements depends neither on the institution nor on the page.
    """
    named = [asked.place.context] if asked.place else []
    known = await rights.load(conn, viewer_id, named, everywhere=True)
    if asked.place and not _exists(known, asked.place.context):
        raise Refusal(Code.NOT_FOUND)
    known = _without_hidden(known)
    if asked.place and not _exists(known, asked.place.context):
        return Found([], None)
    wanted = page.size + 1
    entries: list[contexts.Entry] = []
    if asked.lists_contexts and not isinstance(page.after, PersonMark):
        entries = await contexts.entries(
            conn,
            known,
            terms=asked.terms,
            place=asked.place,
            kinds=asked.kinds,
            excluded=asked.excluded_codes,
            messageable_only=asked.messageable_only,
            include_inactive=asked.include_inactive,
        )
        if isinstance(page.after, PlaceMark):
            entries = [entry for entry in entries if entry.key > page.after.key]
        entries = entries[:wanted]
    persons: list[people.Person] = []
    reach = await people.reach(conn, known, asked.place)
    if asked.lists_people and len(entries) < wanted:
        persons = await people.page(
            conn,
            reach,
            terms=asked.terms or (),
            excluded=asked.excluded_users,
            after=page.after if isinstance(page.after, PersonMark) else None,
            wanted=wanted - len(entries),
        )
    more = len(entries) + len(persons) > page.size
    entries, persons = entries[: page.size], persons[: page.size - len(entries)]
    items: list[RecipientContext | Participant] = [
        *await contexts.show(conn, known, entries, asked.permissions, avatars, named=asked.place is None),
        *await people.show(conn, reach, persons, avatars),
    ]
    if not more:
        return Found(items, None)
    return Found(items, persons[-1].mark if persons else PlaceMark(entries[-1].key))


def _exists(known: UserRights, context: Context) -> bool:
    match context.type:
        case ContextType.COURSE:
            return context.id in known.courses
        case ContextType.SECTION:
            return known.sections.get(context.id) in known.courses
        case _:
            return context.id in known.groups


def _without_hidden(known: UserRights) -> UserRights:
    """The same without the courses that are kept from the viewer, and without their groups."""
    hidden_ids = {course.id for course in known.courses.values() if hidden(known.roles, course)}
    return replace(
        known,
        courses={id_: course for id_, course in known.courses.items() if id_ not in hidden_ids},
        groups={id_: group for id_, group in known.groups.items() if group.course_id not in hidden_ids},
    )


async def find_user(
    conn: Connection, viewer_id: int, text: str, *, conversation_id: int | None, avatars: Avatars
) -> list[Participant]:
    """The one user whom ``user_id`` names, if the viewer may write to them; Refusal(NOT_FOUND) for none.

    ``conversation_id``: one who takes part in it with the viewer will do as well.
    """
    form = parse_user_form(text, viewer_id)
    target = await find_masquerade_target(conn, **form._asdict()) if form else None
    if target is None:
        raise Refusal(Code.NOT_FOUND)
    known = await rights.load(conn, viewer_id, everywhere=True)
    reach: Reach = await people.reach(conn, known, None)
    persons = await people.individual(conn, reach, target.user_id, conversation_id)
    return await people.show(conn, reach, persons, avatars, own_contexts=False)
