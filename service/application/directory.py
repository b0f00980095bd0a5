"""Following the institution: events into the directory's tables."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType

from service.contracts.directory import DirectoryEvent
from service.domain.directory import Change, change_of, rounds
from service.domain.directory_shapes import Kind
from sql import directory
from sql.connection import Connection

_UPSERTS: Mapping[Kind, Callable[[Connection, Sequence[Change]], Awaitable[int]]] = MappingProxyType(
    {
        Kind.ACCOUNT: directory.upsert_accounts,
        Kind.USER: directory.upsert_users,
        Kind.USER_ACCOUNT: directory.upsert_user_accounts,
        Kind.ACCOUNT_USER: directory.upsert_account_users,
        Kind.ROLE_OVERRIDE: directory.upsert_role_overrides,
        Kind.COURSE: directory.upsert_courses,
        Kind.SECTION: directory.upsert_sections,
        Kind.GROUP_CATEGORY: directory.upsert_group_categories,
        Kind.GROUP: directory.upsert_groups,
        Kind.GROUP_MEMBERSHIP: directory.upsert_group_memberships,
        Kind.ATTACHMENT: directory.upsert_attachments,
    }
)


async def apply(conn: Connection, events: Iterable[DirectoryEvent]) -> Counter[Kind]:
    """Write a set of events in one transaction; returns how many rows of each kind are other than before.

    Events may come in any order, several times, and from several processes at once: all write the kinds in
    the order of Kind and the rows of a kind in ascending order, so they wait for each other and never
    deadlock. A user_merged marks the merged account; moving its conversations is not done here.
    """
    changes: dict[Kind, list[Change]] = {kind: [] for kind in Kind}
    for event in events:
        change = change_of(event)
        changes[change.kind].append(change)
    written: Counter[Kind] = Counter()
    async with conn.transaction():
        for kind, told in changes.items():
            if kind is Kind.ENROLLMENT:
                written[kind] = await _write_enrollments(conn, told, changes[Kind.ENROLLMENT_STATE])
            elif kind is not Kind.ENROLLMENT_STATE:
                for rows in rounds(told):
                    written[kind] += await _UPSERTS[kind](conn, rows)
    return written


async def _write_enrollments(conn: Connection, enrolled: Sequence[Change], states: Sequence[Change]) -> int:
    nothing: Sequence[Change] = ()
    pairs = zip_longest(rounds(enrolled), rounds(states), fillvalue=nothing)
    return sum([await directory.upsert_enrollments(conn, rows, row_states) for rows, row_states in pairs])
