"""The people in the answer to a search, and what the viewer shares with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.application.address_book.recipients import accounts_with
from service.application.address_book.rights import UserRights
from service.application.presentation import participants
from service.application.presentation.participants import Common, Portrait, shared_with
from service.application.presentation.shapes import Participant
from service.domain.avatars import Avatars
from service.domain.bookmarks import PersonMark
from service.domain.contexts import Context, ContextType
from service.domain.rights import Right
from service.domain.search import Place, pattern, visible_ranges
from service.domain.visibility import Members, Range, members, own_group
from sql import address_book, search
from sql.connection import Connection
from sql.people import people_by_id

# Up to that many enrolments, matches or steps, the plainest way is quick; all ways lead to the same page.
_FEW = 300
_MATCHES = 2_000
_MATCHES_PER_PERSON = 4
_STEPS = 300
# The places where the viewer sees people, each of which is walked by itself.
_PLACES = 10
_NO_LIMIT = 2**31 - 1
_ROSTER_ONLY = {"0": ["FakeEnrollment"]}


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom the viewer sees; ``context`` null: anywhere."""

    viewer_id: int
    ranges: Sequence[Range] = ()
    groups: Sequence[Members] = ()
    accounts: Sequence[int] = ()
    context: Context | None = None
    course_id: int | None = None  # of the context


@dataclass(frozen=True, slots=True)
class Person:
    """A person found: what is shown of them, and where in the list they stand."""

    row: participants.Person
    mark: PersonMark


async def reach(conn: Connection, known: UserRights, place: Place | None) -> Reach:
    """How far the viewer sees, everywhere or in one place."""
    if place is not None:
        return _reach_in(known, place)
    roles = known.roles
    own_courses = sorted({enrollment.course_id for enrollment in roles.enrollments} & known.courses.keys())
    spans = [span for id_ in own_courses for span in visible_ranges(roles, known.courses[id_], individuals=True)]
    own = [own_group(roles, group, known.course_of(group)) for group in known.own_groups()]
    accounts = await accounts_with(conn, known, Right.READ_ROSTER) if roles.admin_records else []
    return Reach(roles.user_id, spans, [group for group in own if group], accounts)


def _reach_in(known: UserRights, place: Place) -> Reach:
    roles, context = known.roles, place.context
    if context.type is ContextType.GROUP:
        group = known.groups[context.id]
        seen = members(roles, group, known.course_of(group), as_admin=True)
        return Reach(roles.user_id, groups=[seen] if seen else [], context=context)
    section_id = context.id if context.type is ContextType.SECTION else None
    course = known.courses[context.id if section_id is None else known.sections[section_id]]
    spans = visible_ranges(roles, course, types=place.types, section_id=section_id, as_admin=True)
    return Reach(roles.user_id, spans, context=context, course_id=course.id)


async def page(
    conn: Connection,
    reach: Reach,
    *,
    terms: Sequence[str],
    excluded: Sequence[int],
    after: PersonMark | None,
    wanted: int,
) -> list[Person]:
    """The next ``wanted`` people behind ``after``, by sortable name and id.

    One to five statements, each a way to the same answer that is quick where the ones before are not: the viewer
    sees few people; every so often a person in the order of names, of a place or of all, is one of them; a term is
    rare.
    """
    if not (reach.ranges or reach.groups or reach.accounts):
        return []
    asked = search.Asked(
        reach.viewer_id,
        reach.ranges,
        reach.groups,
        reach.accounts,
        [pattern(term) for term in terms],
        excluded,
        (after.sort_name, after.id) if after else ("", 0),
        wanted,
    )
    places = len(reach.ranges) + len(reach.groups)
    at_once = not reach.accounts and places <= _PLACES
    found = None if reach.accounts else await search.search_among_few(conn, asked, _FEW)
    if found is None and at_once:
        found = await search.search_in_rosters(conn, asked, _STEPS // places + 1)
    elif found is None:
        found = await search.search_by_name(conn, asked, _STEPS)
    for steps in (_MATCHES_PER_PERSON * wanted, _NO_LIMIT) if terms else ():
        if found is None:
            found = await search.search_by_match(conn, asked, _MATCHES, max(terms, key=len), steps)
    if found is None and reach.accounts:
        found = await search.search_by_name(conn, asked, _NO_LIMIT)
    elif found is None:
        found = await search.search_in_rosters(conn, asked, _NO_LIMIT)
    return [Person(row, PersonMark(row.sort_name, row.id)) for row in found or ()]


async def individual(conn: Connection, reach: Reach, user_id: int, conversation_id: int | None) -> list[Person]:
    """The user alone, or an empty list when the viewer may not write to them."""
    if user_id != reach.viewer_id and not await _within(conn, reach, user_id, conversation_id):
        return []
    found = await people_by_id(conn, [user_id])
    return [Person(row, PersonMark("", user_id)) for row in found.values()]


async def _within(conn: Connection, reach: Reach, user_id: int, conversation_id: int | None) -> bool:
    viewer_id = reach.viewer_id
    if conversation_id is not None:
        fellows = await address_book.fellow_participants(conn, conversation_id, viewer_id, [user_id])
        if fellows and await address_book.existing_users(conn, fellows):
            return True
    return bool(
        await address_book.reachable(
            conn, [user_id], viewer_id, ranges=reach.ranges, groups=reach.groups, account_ids=reach.accounts
        )
    )


async def show(
    conn: Connection, reach: Reach, people: Sequence[Person], avatars: Avatars, *, own_contexts: bool = True
) -> list[Participant]:
    """Participant objects; ``own_contexts`` off: the viewer shares nothing with themselves."""
    if not people:
        return []
    ids = [person.row.id for person in people]
    shared = ids if own_contexts else [id_ for id_ in ids if id_ != reach.viewer_id]
    common = {id_: Common() for id_ in ids} | dict(await _common(conn, reach, shared))
    return Portrait(False, avatars, common).show([person.row for person in people])


async def _common(conn: Connection, reach: Reach, ids: Sequence[int]) -> Mapping[int, Common]:
    """What people share with the viewer; inside a context that context alone."""
    if reach.course_id is not None:
        types = await search.types_in_course(conn, reach.course_id, ids)
        return {id_: Common(courses={str(reach.course_id): held}) for id_, held in types.items()}
    if reach.context is not None:
        return {id_: Common(groups={str(reach.context.id): ["Member"]}) for id_ in ids}
    found = await shared_with(conn, reach.viewer_id, ids)
    if reach.accounts:
        for user_id, common in found.items():
            if user_id != reach.viewer_id and not common.courses and not common.groups:
                common.courses = dict(_ROSTER_ONLY)
    return found
