"""Changes of the directory's rows, written in sets: those of events and those of snapshots alike."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from types import MappingProxyType
from typing import TypeVar

import asyncpg

from service.application.directory.merge import merge
from service.contracts.wording import named
from service.domain.directory import Change, rounds
from service.domain.directory_shapes import SHAPES, Kind
from service.runtime.postgres import CONFLICT, INSTALLATION, is_unavailable
from sql import directory
from sql.batch_recipients import leave_out_deleted
from sql.connection import Connection

T = TypeVar("T")

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

# Kinds of which the rosters of places are made (sql/schema/03_rosters.sql).
_IN_ROSTERS = (Kind.USER, Kind.ENROLLMENT, Kind.ENROLLMENT_STATE, Kind.GROUP_MEMBERSHIP)
_MERGED_INTO = SHAPES[Kind.USER].keys.index("merged_into_user_id")
_STATE = SHAPES[Kind.USER].keys.index("workflow_state")
# Changes do not conflict with each other; a merge may conflict with sends of the merged users.
_TRIES = 5


@dataclass(frozen=True)
class Followed:
    """How many rows of each kind are other than before, and why some items, by position, were left out."""

    written: Counter[Kind] = field(default_factory=Counter)
    refused: dict[int, str] = field(default_factory=dict)


async def in_parts(items: Sequence[T], write: Callable[[Sequence[T]], Awaitable[Counter[Kind]]]) -> Followed:
    """Writes all items at once; one that the database refuses does not take the others with it.

    The set is halved until the refused one stands alone, each half in a transaction of its own and in order of
    arrival. Raises, like ``write``, what says nothing about the items; what was committed by then may come again.
    """
    followed = Followed()
    parts = [(0, items)]
    while parts:
        first, part = parts.pop()
        try:
            followed.written.update(await write(part))
        except Exception as error:
            if not _is_about_items(error):
                raise
            if len(part) == 1:
                followed.refused[first] = named(error)
            else:
                half = len(part) // 2
                parts += [(first + half, part[half:]), (first, part[:half])]
    return followed


def _is_about_items(error: Exception) -> bool:
    """Nothing else writes the directory's keys, so one that is taken after all tries stays taken."""
    elsewhere = tuple(conflict for conflict in CONFLICT if conflict is not asyncpg.UniqueViolationError)
    return not is_unavailable(error) and not isinstance(error, (*elsewhere, *INSTALLATION))


async def in_transaction(conn: Connection, write: Callable[[], Awaitable[T]]) -> T:
    """Runs ``write`` in a transaction, and again where it conflicts with a send; gives up after five attempts.

    Then raises one of postgres.CONFLICT.
    """
    for _ in range(_TRIES - 1):
        with suppress(*CONFLICT):
            async with conn.transaction():
                return await write()
    async with conn.transaction():
        return await write()


def by_kind(changes: Sequence[Change]) -> dict[Kind, list[Change]]:
    """Each kind's changes, in the order of Kind."""
    found: dict[Kind, list[Change]] = {kind: [] for kind in Kind}
    for change in changes:
        found[change.kind].append(change)
    return found


async def write_changes(conn: Connection, changes: Mapping[Kind, Sequence[Change]]) -> Counter[Kind]:
    """Write a set of changes in the caller's transaction; returns how many rows of each kind are other than before.

    Changes may come in any order, several times, and from several processes at once: all write the kinds in the order
    of Kind and the rows of a kind in ascending order, so they wait for each other and never deadlock. Conversations of
    merged accounts move along, and last of all deleted users are taken out of bulk sends that wait (CONTRACT 3.6).
    """
    written: Counter[Kind] = Counter()
    if any(changes[kind] for kind in _IN_ROSTERS):
        await directory.take_roster_turn(conn)
    for kind, arrived in changes.items():
        if kind is Kind.ENROLLMENT:
            written[kind] = await _write_enrollments(conn, arrived, changes[Kind.ENROLLMENT_STATE])
        elif kind is not Kind.ENROLLMENT_STATE:
            for rows in rounds(arrived):
                written[kind] += await _UPSERTS[kind](conn, rows)
    merged = {change.row[0] for change in changes[Kind.USER] if change.values[_MERGED_INTO] is not None}
    if merged:
        await merge(conn, merged)
    deleted = {change.row[0] for change in changes[Kind.USER] if change.values[_STATE] == "deleted"}
    if deleted:
        await leave_out_deleted(conn, deleted)
    return written


async def _write_enrollments(conn: Connection, enrolled: Sequence[Change], states: Sequence[Change]) -> int:
    nothing: Sequence[Change] = ()
    pairs = zip_longest(rounds(enrolled), rounds(states), fillvalue=nothing)
    return sum([await directory.upsert_enrollments(conn, rows, row_states) for rows, row_states in pairs])
