"""From the SIS ids of a snapshot to ids of the directory."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import chain

from service.domain.directory_shapes import Kind
from service.domain.snapshots import FIRST_ID, ROOT, Agents, Guardian, Record, Reference, Row, SisKind, references
from sql import sis_ids
from sql.connection import Connection
from sql.sis_ids import AlikeRow, Key

# Rows that join others have no SIS id in events: they are known again by what they join.
_JOINING: Mapping[SisKind, tuple[Callable[[Connection, Sequence[Key]], Awaitable[list[AlikeRow]]], tuple[str, ...]]] = {
    SisKind.ENROLLMENT: (
        sis_ids.enrollments_alike,
        ("user_id", "course_id", "course_section_id", "type", "associated_user_id"),
    ),
    SisKind.GROUP_MEMBERSHIP: (sis_ids.group_memberships_alike, ("group_id", "user_id")),
    SisKind.ACCOUNT_USER: (sis_ids.account_users_alike, ("account_id", "user_id", "role")),
}

Ids = dict[Reference, int]


async def known_ids(conn: Connection, records: Sequence[Record], root_account_id: int) -> Ids:
    """The ids of what the records name, as far as the directory knows them; changes nothing."""
    named = _named(records)
    ids = await _remembered(conn, named, root_account_id)
    ids |= await _brought_by_events(conn, _unknown(named, ids), records)
    return ids | await _alike(conn, _unknown(named, ids), records, ids)


async def lasting_ids(conn: Connection, records: Sequence[Record], root_account_id: int) -> Ids:
    """The ids of all that the records name: those that were remembered or that events have brought, else new ones.

    In the caller's transaction, which has taken the roster turn: from here on they are remembered.
    """
    named = _named(records)
    ids = await _remembered(conn, named, root_account_id)
    if unknown := _unknown(named, ids):
        brought = await _brought_by_events(conn, unknown, records)
        ids |= await _remember(conn, [each for each in unknown if each.kind not in _JOINING], brought)
    if unknown := _unknown(named, ids):
        ids |= await _remember(conn, unknown, await _alike(conn, unknown, records, ids))
    return ids


async def without_merged(conn: Connection, records: Sequence[Record]) -> Sequence[Record]:
    """The records without those that say what a user is like who has been merged into another (semantics.md 2.6).

    Whatever else names such a user means the other one, who would be renamed, or deleted, by such a row.
    """
    users = [user.sis_id for user in map(_described, records) if user is not None]
    merged = set(await sis_ids.merged_sis_ids(conn, users)) if users else set()
    if not merged:
        return records
    return [each for each in records if (user := _described(each)) is None or user.sis_id not in merged]


def _described(record: Record) -> Reference | None:
    match record:
        case Row(Kind.USER, own) | Agents(own) | Guardian(own):
            return own
    return None


def _named(records: Sequence[Record]) -> list[Reference]:
    """All that the records name, each once, in their order."""
    return list(dict.fromkeys(chain.from_iterable(map(references, records))))


async def _remembered(conn: Connection, named: Sequence[Reference], root_account_id: int) -> Ids:
    asked = [each for each in named if each is not ROOT]
    return {**await sis_ids.remembered_sis_ids(conn, asked), ROOT: root_account_id}


def _unknown(named: Sequence[Reference], ids: Ids) -> list[Reference]:
    return [each for each in named if each not in ids]


async def _remember(conn: Connection, unknown: Collection[Reference], known: Ids) -> Ids:
    return await sis_ids.remember_sis_ids(conn, {each: known.get(each) for each in unknown}) if unknown else {}


async def _brought_by_events(conn: Connection, unknown: Collection[Reference], records: Sequence[Record]) -> Ids:
    """Users and sections have a SIS id in events; a course is known by its sections."""
    found: Ids = {}
    if users := [sis_id for kind, sis_id in unknown if kind is SisKind.USER]:
        found |= {Reference(SisKind.USER, row.sis_id): row.id for row in await sis_ids.users_by_sis_id(conn, users)}
    sections = [sis_id for kind, sis_id in unknown if kind is SisKind.SECTION]
    courses: dict[str, int] = {}
    for row in await sis_ids.sections_by_sis_id(conn, sections) if sections else ():
        found[Reference(SisKind.SECTION, row.sis_id)] = row.id
        courses[row.sis_id] = row.course_id
    unknown_courses = {each for each in unknown if each.kind is SisKind.COURSE}
    for record in records:
        if isinstance(record, Row) and record.kind is Kind.SECTION and record.own.sis_id in courses:
            course = record.values["course_id"]
            if course in unknown_courses:
                found.setdefault(course, courses[record.own.sis_id])
    return found


async def _alike(conn: Connection, unknown: Collection[Reference], records: Sequence[Record], ids: Ids) -> Ids:
    """Rows that join the same others in the same way. Of users whom a snapshot has brought events know nothing."""
    wanted = {each for each in unknown if each.kind in _JOINING}
    found: Ids = {}
    if not any(each.kind is SisKind.USER and own < FIRST_ID for each, own in ids.items()):
        return found
    for kind, (look, keys) in _JOINING.items():
        asked: dict[Reference, Key] = {}
        for record in records:
            if isinstance(record, Row) and record.own.kind is kind and record.own in wanted:
                parts = [record.values.get(key) for key in keys]
                if record.values["user_id"] in ids and ids[record.values["user_id"]] < FIRST_ID:
                    asked[record.own] = tuple(ids.get(part) if isinstance(part, Reference) else part for part in parts)
        if asked:
            owners = list(asked)
            found |= {owners[row.position - 1]: row.id for row in await look(conn, list(asked.values()))}
    return found
