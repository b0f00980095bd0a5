"""From recipients as sent to the users meant (canvas/endpoints.md 5, 4.2 resolution steps 1 to 7)."""

from collections.abc import Collection, Sequence
from typing import TypeVar

from service.application.address_book import rights
from service.application.address_book.rights import UserRights
from service.domain.contexts import Context, ContextType, parse_code
from service.domain.errors import Code, Refusal
from service.domain.recipients import Audience, Recipients, sent_context
from service.domain.rights import Right
from service.domain.visibility import Members, Range, members, own_group, ranges
from sql import address_book
from sql.connection import Connection
from sql.rights import accounts_granting

Reached = TypeVar("Reached", Range, Members)


async def sender_rights(
    conn: Connection,
    sender_id: int,
    named: Recipients,
    context_code: str | None,
    *,
    also: Collection[Context] = (),
) -> UserRights:
    """The sender's rights in all contexts that a request names and in ``also``: loaded once for all of its checks."""
    context = sent_context(context_code) or parse_code(context_code or "")
    contexts = {*also, *(audience.context for audience in named.audiences), *([context] if context else [])}
    # An individual may be known from any course or group of the sender, unless a group narrows it down.
    narrowed = context is not None and context.type is ContextType.GROUP
    everywhere = bool(named.user_ids or named.uuids) and not narrowed
    return await rights.load(conn, sender_id, contexts, everywhere=everywhere)


async def resolve(
    conn: Connection,
    known: UserRights,
    named: Recipients,
    context_code: str | None,
    *,
    conversation_id: int | None = None,
    hold_above: int | None = None,
) -> Sequence[int]:
    """Users the request means and the sender may write to: ids, ascending and distinct.

    ``known``: of sender_rights. Without the sender, unless the sender alone is named. ``conversation_id``: its
    participants are acceptable too (replies). ``hold_above``: of more than so many members of courses, and nobody else,
    the server holds the ids until the transaction ends, and here they can only be counted. Refusal(NOT_FOUND) when
    ``context_code`` names a course, section or group that does not exist.
    """
    sender_id = known.roles.user_id
    context = sent_context(context_code)
    if context is not None and not _exists(known, context):
        raise Refusal(Code.NOT_FOUND)
    people = set(named.user_ids)
    if named.uuids:
        people.update(await address_book.recipients_by_uuid(conn, sorted(named.uuids)))
    if people == {sender_id} and not named.audiences:
        return [sender_id]
    people.discard(sender_id)
    found = await _individuals(conn, known, sorted(people), context, conversation_id) if people else set()
    members_found = await _audiences(conn, known, named, hold_above=None if found else hold_above)
    return sorted(found | set(members_found)) if found else members_found


async def still_reachable(
    conn: Connection,
    known: UserRights,
    people: Sequence[int],
    named: Recipients,
    context: Context | None,
    *,
    conversation_id: int | None = None,
) -> set[int]:
    """Those of some users to whom a request that named them, or audiences with them, could be made again now.

    What ``resolve`` would find, asked from their side: some of a course of 100,000 cost what they are. ``known``: of
    sender_rights. The sender alone is a monologue.
    """
    sender_id = known.roles.user_id
    if list(people) == [sender_id]:
        return {sender_id}
    if context is not None and context.type is not ContextType.ACCOUNT and not _exists(known, context):
        return set()
    within = None if context is None or context.type is ContextType.ACCOUNT else context
    found = await _individuals(conn, known, people, within, conversation_id)
    rest = [user_id for user_id in people if user_id not in found]
    spans, groups = _audience_reach(known, named)
    if rest and (spans or groups):
        found.update(await address_book.reachable(conn, rest, sender_id, ranges=_sorted(spans), groups=_sorted(groups)))
    return found


def _exists(known: UserRights, context: Context) -> bool:
    match context.type:
        case ContextType.COURSE:
            return context.id in known.courses
        case ContextType.SECTION:
            return context.id in known.sections
        case _:
            return context.id in known.groups


async def _audiences(
    conn: Connection, known: UserRights, named: Recipients, *, hold_above: int | None
) -> Sequence[int]:
    """Everybody in the contexts given as recipients, ascending."""
    spans, groups = _audience_reach(known, named)
    sender_id = known.roles.user_id
    held = None if groups else hold_above
    enrolled = await address_book.expand_ranges(conn, _sorted(spans), sender_id, hold_above=held) if spans else []
    if not groups:
        return enrolled
    grouped = await address_book.group_members(conn, _sorted(groups), sender_id)
    return sorted({*enrolled, *grouped})


def _audience_reach(known: UserRights, named: Recipients) -> tuple[set[Range], set[Members]]:
    """What the contexts given as recipients stand for."""
    reached = [reach(known, audience) for audience in named.audiences]
    return {span for spans, _ in reached for span in spans}, {group for _, groups in reached for group in groups}


def _sorted(reached: Collection[Reached]) -> list[Reached]:
    return sorted(reached, key=repr)


def reach(known: UserRights, audience: Audience) -> tuple[list[Range], list[Members]]:
    """Where the sender finds those of an audience: ranges of enrolments, or a group. Both empty: nowhere."""
    if audience.context.type is not ContextType.GROUP:
        return _ranges(known, audience.context, audience), []
    group = known.groups.get(audience.context.id)
    if group is None or group.differentiation_tag < audience.differentiation_tag:
        return [], []
    reached = members(known.roles, group, known.course_of(group))
    return [], [reached] if reached else []


async def writes_to_anybody(conn: Connection, known: UserRights, named: Recipients, context_code: str | None) -> bool:
    """Whether there is a place left, of those that a request names, where the sender may write to people at all."""
    if any(any(reach(known, audience)) for audience in named.audiences):
        return True
    if not (named.user_ids or named.uuids):
        return False
    context = sent_context(context_code)
    if context is not None:
        return any(_reach_in(known, context))
    if known.roles.site_wide(Right.SEND_MESSAGES) or any(_reach_everywhere(known)):
        return True
    return bool(known.roles.admin_records) and bool(await accounts_with(conn, known, Right.READ_ROSTER))


def _ranges(
    known: UserRights, context: Context, audience: Audience | None = None, *, as_admin: bool = False
) -> list[Range]:
    section_id = context.id if context.type is ContextType.SECTION else None
    course = known.courses.get(known.sections.get(context.id, 0) if section_id else context.id)
    if course is None:
        return []
    types = audience.types if audience else None
    return ranges(known.roles, course, types=types, section_id=section_id, as_admin=as_admin)


async def _individuals(
    conn: Connection,
    known: UserRights,
    people: Sequence[int],
    context: Context | None,
    conversation_id: int | None,
) -> set[int]:
    """Those of ``people`` whom the sender may write to one by one (canvas/endpoints.md 5.1)."""
    sender = known.roles
    if context is None and sender.site_wide(Right.SEND_MESSAGES):
        return set(await address_book.existing_users(conn, people))
    spans, groups = _reach_in(known, context) if context else _reach_everywhere(known)
    rosters = await accounts_with(conn, known, Right.READ_ROSTER) if context is None and sender.admin_records else []
    found: set[int] = set()
    if spans or groups or rosters:
        found.update(
            await address_book.reachable(conn, people, sender.user_id, ranges=spans, groups=groups, account_ids=rosters)
        )
    if conversation_id is not None:
        found.update(await address_book.fellow_participants(conn, conversation_id, sender.user_id, people))
    return found


def _reach_everywhere(known: UserRights) -> tuple[list[Range], list[Members]]:
    """What the sender sees of own courses, current or concluded, and own groups."""
    own_courses = {enrollment.course_id for enrollment in known.roles.enrollments}
    spans = [
        span
        for course_id in sorted(own_courses & known.courses.keys())
        for span in ranges(known.roles, known.courses[course_id])
    ]
    return spans, _own_groups(known)


def _reach_in(known: UserRights, context: Context) -> tuple[list[Range], list[Members]]:
    """The same inside one context."""
    if context.type is ContextType.GROUP:
        group = known.groups[context.id]
        reached = members(known.roles, group, known.course_of(group), as_admin=True)
        return [], [reached] if reached else []
    course_id = known.sections[context.id] if context.type is ContextType.SECTION else context.id
    return _ranges(known, context, as_admin=True), _own_groups(known, course_id)


def _own_groups(known: UserRights, course_id: int | None = None) -> list[Members]:
    return [
        reached
        for group in known.own_groups()
        if (course_id is None or group.course_id == course_id)
        and (reached := own_group(known.roles, group, known.course_of(group)))
    ]


async def accounts_with(conn: Connection, known: UserRights, right: Right) -> list[int]:
    """Accounts where the sender holds a right as an administrator."""
    records = [
        (record, known.roles.holds(record, right, known.accounts.get(record.account_id, ())))
        for record in known.roles.admin_records
    ]
    return await accounts_granting(conn, right, records)
