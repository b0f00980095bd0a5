"""The contexts in the answer to a search: courses, sections, groups, and the parts of a course to browse."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from service.application.address_book.rights import UserRights
from service.application.presentation.shapes import RecipientContext
from service.domain.avatars import Avatars
from service.domain.contexts import Context, ContextType
from service.domain.rights import Course, Group, Right
from service.domain.search import Kind, Parts, Place, State, fold, holds, visible_ranges, visible_sections
from service.domain.visibility import Members, Range, members
from sql import search
from sql.connection import Connection

_ROLES = (
    ("teachers", "Teachers"),
    ("tas", "Teaching Assistants"),
    ("students", "Students"),
    ("observers", "Observers"),
)
_RANK = {ContextType.COURSE: 0, ContextType.SECTION: 1, ContextType.GROUP: 2}


@dataclass(frozen=True, slots=True)
class Entry:
    """One context to offer. ``key`` orders the list; ``seen`` are the people to count, null where that is done.

    ``count``: of people, or of the parts that a collection holds.
    """

    key: tuple[int, int, str, int]
    code: str
    name: str
    context: Context
    kind: Kind
    state: State = State.ACTIVE
    course: Course | None = None  # the parent's, of sections and groups
    group: Group | None = None
    seen: Sequence[Range] | Members | None = None
    count: int = 0
    collection: bool = False


@dataclass(frozen=True)
class _Offer:
    """Everything the viewer may choose from, unsorted."""

    courses: Sequence[Entry]
    sections: Sequence[Entry]
    groups: Sequence[Entry]
    tags: Sequence[Entry]
    custom_sections: bool  # one of the sections at least is not its course's default


def browsed(place: Place, terms: Sequence[str] | None) -> bool:
    """Whether the parts of a place are asked for and not, by a search, the people in it."""
    return place.parts is not None or (
        place.suffix is None and not terms and place.context.type is not ContextType.GROUP
    )


async def entries(
    conn: Connection,
    known: UserRights,
    *,
    terms: Sequence[str] | None,
    place: Place | None,
    kinds: Collection[Kind],
    excluded: Collection[str],
    messageable_only: bool,
    include_inactive: bool,
) -> list[Entry]:
    """The contexts to offer, in order. Inside a place its parts; what is not current is offered there as well."""
    if place is not None and place.context.type is ContextType.GROUP:
        return []
    course_id = None if place is None else known.sections.get(place.context.id, place.context.id)
    if place is not None and place.context.type is ContextType.COURSE:
        course_id = place.context.id
    offer = await _offer(conn, known, course_id)
    if place is not None and place.parts is None and browsed(place, terms):
        chosen = [*await _roles(conn, known, place), *_collections(place, offer)]
        found = [replace(entry, key=(0, n, "", 0)) for n, entry in enumerate(chosen)]
        terms = None
    else:
        found = [_keyed(entry, searching=bool(terms)) for entry in _chosen(place, offer)]
    return sorted(
        (
            entry
            for entry in found
            if entry.kind in kinds
            and entry.code not in excluded
            and (not terms or holds(entry.name, terms))
            and (place is not None or include_inactive or entry.state is not State.INACTIVE)
            and (not messageable_only or _may(known, Right.SEND_MESSAGES, entry))
        ),
        key=lambda entry: entry.key,
    )


def _may(known: UserRights, right: Right, entry: Entry) -> bool:
    """A section's rights are its course's."""
    if entry.group is not None:
        return known.roles.may_in_group(right, entry.group, entry.course)
    return known.may(right, entry.context) if entry.course is None else known.roles.may(right, entry.course)


def _chosen(place: Place | None, offer: _Offer) -> Sequence[Entry]:
    if place is None:
        return [*offer.courses, *offer.sections, *offer.groups]
    match place.parts:
        case Parts.SECTIONS:
            return offer.sections
        case Parts.GROUPS:
            return offer.groups
        case Parts.TAGS:
            return offer.tags
    return [*offer.sections, *offer.groups] if place.suffix is None and place.context.type is ContextType.COURSE else []


def _keyed(entry: Entry, *, searching: bool) -> Entry:
    rank = _RANK[entry.context.type]
    # Without a search the type only parts what has one name and one id.
    key = (int(entry.state), rank, fold(entry.name), entry.context.id) if searching else (0, 0, fold(entry.name), 0)
    return replace(entry, key=key if searching else (*key[:3], entry.context.id * len(_RANK) + rank))


async def _offer(conn: Connection, known: UserRights, course_id: int | None) -> _Offer:
    """What there is in one course, or in all that is the viewer's own."""
    roles = known.roles
    own = sorted({enrollment.course_id for enrollment in roles.enrollments} & known.courses.keys())
    course_ids = own if course_id is None else [course_id]
    group_ids = sorted(roles.group_ids & known.groups.keys()) if course_id is None else []
    lately = await search.ended_lately(conn, course_ids) if course_ids else frozenset()
    sections = await search.sections_of(conn, course_ids) if course_ids else []
    groups = await search.groups_of(conn, course_ids, group_ids) if course_ids or group_ids else []

    def state_of(course: Course) -> State:
        enrolled = roles.enrolled(course.id)
        going_on = any(e.current for e in enrolled) if enrolled else not (course.completed or course.ended)
        return State.ACTIVE if going_on else State.ENDED_LATELY if course.id in lately else State.INACTIVE

    courses = {id_: known.courses[id_] for id_ in course_ids}
    states = {id_: state_of(course) for id_, course in courses.items()}
    of_course = {id_: [row.id for row in sections if row.course_id == id_] for id_ in {r.course_id for r in sections}}
    offered = {
        id_ for course in courses.values() for id_ in visible_sections(roles, course, of_course.get(course.id, ()))
    }
    shown = [row for row in sections if row.id in offered]
    grouped = [entry for row in groups if (entry := _group(known, row, states))]
    return _Offer(
        [_course(known, course, states[course.id]) for course in courses.values()],
        [_section(known, row, states[row.course_id]) for row in shown],
        [entry for entry in grouped if entry.group and not entry.group.differentiation_tag],
        [entry for entry in grouped if entry.group and entry.group.differentiation_tag],
        any(not row.default_section for row in shown),
    )


_UNORDERED = (0, 0, "", 0)


def _course(known: UserRights, course: Course, state: State) -> Entry:
    context = Context(ContextType.COURSE, course.id)
    seen = visible_ranges(known.roles, course, as_admin=True)
    return Entry(_UNORDERED, context.code, course.name, context, Kind.COURSE, state, seen=seen)


def _section(known: UserRights, row: search.SectionRow, state: State) -> Entry:
    context, course = Context(ContextType.SECTION, row.id), known.courses[row.course_id]
    seen = visible_ranges(known.roles, course, section_id=row.id, as_admin=True)
    return Entry(_UNORDERED, context.code, row.name, context, Kind.SECTION, state, course, seen=seen)


def _group(known: UserRights, row: search.GroupRow, states: dict[int, State]) -> Entry | None:
    """The group if it is the viewer's own or one whose members they see."""
    group = known.groups.get(row.id) or Group(row.id, row.course_id, (), row.differentiation_tag)
    course = known.course_of(group)
    seen = members(known.roles, group, course, as_admin=True)
    own = row.id in known.roles.group_ids and not row.differentiation_tag
    if seen is None and not own:
        return None
    context = Context(ContextType.GROUP, row.id)
    code = f"differentiation_tag_{row.id}" if row.differentiation_tag else context.code
    state = State.ACTIVE if row.course_id is None else states.get(row.course_id, State.INACTIVE)
    return Entry(_UNORDERED, code, row.name, context, Kind.GROUP, state, course, group, seen or ())


async def _roles(conn: Connection, known: UserRights, place: Place) -> list[Entry]:
    """The roles that are held in the place."""
    section_id = place.context.id if place.context.type is ContextType.SECTION else None
    course = known.courses[known.sections[section_id] if section_id is not None else place.context.id]
    seen = visible_ranges(known.roles, course, section_id=section_id, as_admin=True)
    counted = await search.count_enrolled(conn, known.roles.user_id, {0: seen})
    kind = Kind.COURSE if section_id is None else Kind.SECTION
    return [
        Entry(_UNORDERED, f"{place.code}_{role}", name, place.context, kind, count=count)
        for role, name in _ROLES
        if 0 in counted and (count := getattr(counted[0], role))
    ]


def _collections(place: Place, offer: _Offer) -> list[Entry]:
    """Sections, groups and tags of a course, each as one entry."""
    if place.context.type is not ContextType.COURSE:
        return []
    parts = [
        (Parts.SECTIONS, "Course Sections", Kind.SECTION, offer.sections if offer.custom_sections else ()),
        (Parts.GROUPS, "Student Groups", Kind.GROUP, offer.groups),
        (Parts.TAGS, "Differentiation Tags", Kind.GROUP, offer.tags),
    ]
    return [
        Entry(_UNORDERED, f"{place.context.code}_{part}", name, place.context, kind, count=len(items), collection=True)
        for part, name, kind, items in parts
        if items
    ]


async def show(
    conn: Connection,
    known: UserRights,
    shown: Sequence[Entry],
    permissions: Collection[str],
    avatars: Avatars,
    *,
    named: bool,
) -> list[RecipientContext]:
    """The contexts as the API shows them, their people counted; ``named``: with the course they belong to."""
    counted = await _counted(conn, known.roles.user_id, shown)
    return [_item(known, entry, permissions, avatars, named=named) for entry in counted]


async def _counted(conn: Connection, viewer_id: int, shown: Sequence[Entry]) -> list[Entry]:
    asked = {n: entry.seen for n, entry in enumerate(shown) if entry.seen is not None}
    groups = {n: seen for n, seen in asked.items() if isinstance(seen, Members)}
    spans = {n: seen for n, seen in asked.items() if not isinstance(seen, Members)}
    counts = await search.count_enrolled(conn, viewer_id, spans) if any(spans.values()) else {}
    if groups:
        counts |= await search.count_members(conn, groups)
    none = search.Headcount(0)
    return [
        replace(entry, count=counts.get(n, none).everybody) if n in asked else entry for n, entry in enumerate(shown)
    ]


def _item(
    known: UserRights, entry: Entry, permissions: Collection[str], avatars: Avatars, *, named: bool
) -> RecipientContext:
    if entry.collection:
        return {"id": entry.code, "name": entry.name, "type": "context", "item_count": entry.count}
    item: RecipientContext = {
        "id": entry.code,
        "name": entry.name,
        "avatar_url": avatars.of_conversation(None, (None, None)),
        "type": "context",
        "user_count": entry.count,
        "permissions": {right.value: True for right in Right if right in permissions and _may(known, right, entry)},
    }
    if named and entry.course is not None:
        item["context_name"] = entry.course.name
    return item
