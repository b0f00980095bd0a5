"""What becomes of conversations when user accounts are merged (canvas/semantics.md 2.6).

A chain of merges has the same outcome whether its events come one by one or at once, and in whatever order: an account
stands as many merges away from its target as the chain has links. Two things are left to the order of the events,
because the target of the first merge then has what the second is merged into: which conversation stays of those among
the merged themselves, and of two accounts with one target that had no conversation of that kind.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from service.domain.participant import State


class MergeTarget(NamedTuple):
    """The account that has all of a merged one, and how many merges away from it, at least one."""

    user_id: int
    distance: int


@dataclass(frozen=True, slots=True)
class Row:
    """A participant row, as far as a merge looks at it; ``context``: key of the pair, on one row of a private pair."""

    conversation_id: int
    user_id: int
    context: int | None
    state: State
    last_message_at: datetime | None
    last_authored_at: datetime | None
    touched_at: datetime | None
    history_from: datetime | None
    tag_set: int
    message_count: int


@dataclass(frozen=True, slots=True)
class MergedRow:
    """One row after the merge and the rows it is made of; the first of them is the one that stays."""

    conversation_id: int
    user_id: int
    sources: Sequence[Row]
    state: State
    last_message_at: datetime | None
    last_authored_at: datetime | None
    touched_at: datetime | None
    history_from: datetime | None
    tag_set: int


class Pair(NamedTuple):
    """Who a private conversation is between, the lower id first (one id twice: a monologue), and its context's key."""

    lower: int
    higher: int
    context: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that changes: where conversations dissolve, what rows become, and the pairs of those that stay."""

    homes: Mapping[int, int]
    merged_rows: Sequence[MergedRow]
    pairs: Mapping[int, Pair]


def plan(rows: Iterable[Row], targets: Mapping[int, MergeTarget]) -> Plan:
    """What conversations become; ``rows``: of private ones all, of others the accounts' and their targets'."""
    conversations: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        conversations[row.conversation_id].append(row)
    pairs = {number: pair for number, held in conversations.items() if (pair := _pair(held, targets))}
    rank = {number: (_distances(held, targets), number) for number, held in conversations.items()}
    homes = _homes(pairs, rank)
    groups: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    for number in sorted(conversations, key=rank.__getitem__):
        for row in sorted(conversations[number], key=lambda row: (_steps(row.user_id, targets), row.user_id)):
            groups[homes.get(number, number), _target(row.user_id, targets)].append(row)
    moved = {
        number for number in pairs if number not in homes and any(r.user_id in targets for r in conversations[number])
    }
    merged_rows = [
        _merged_row(home, target, sources)
        for (home, target), sources in sorted(groups.items())
        if len(sources) > 1 or sources[0].user_id != target or home in moved
    ]
    changed = {merged.conversation_id for merged in merged_rows}
    kept = {number: pair for number, pair in pairs.items() if number not in homes and number in changed}
    return Plan(homes, merged_rows, kept)


def _target(user_id: int, targets: Mapping[int, MergeTarget]) -> int:
    return targets[user_id].user_id if user_id in targets else user_id


def _steps(user_id: int, targets: Mapping[int, MergeTarget]) -> int:
    return targets[user_id].distance if user_id in targets else 0


def _distances(rows: Sequence[Row], targets: Mapping[int, MergeTarget]) -> list[int]:
    return sorted((_steps(row.user_id, targets) for row in rows), reverse=True)


def _pair(rows: Sequence[Row], targets: Mapping[int, MergeTarget]) -> Pair | None:
    """The identity of a private conversation with the targets in place of merged accounts; None: not private."""
    context = next((row.context for row in rows if row.context is not None), None)
    if context is None:
        return None
    members = sorted({_target(row.user_id, targets) for row in rows})
    return Pair(members[0], members[-1], context)


def _homes(pairs: Mapping[int, Pair], rank: Mapping[int, tuple[list[int], int]]) -> dict[int, int]:
    """Conversations that are no longer the only one of their pair, and the target's own, in which they dissolve."""
    found: dict[Pair, int] = {}
    for number in sorted(pairs, key=rank.__getitem__):
        found.setdefault(pairs[number], number)
    return {number: found[pair] for number, pair in pairs.items() if found[pair] != number}


def _merged_row(home: int, target: int, sources: Sequence[Row]) -> MergedRow:
    kept = sources[0]
    # A row whose user had deleted everything has neither time nor tags to keep; what comes in has.
    dated = next((row for row in sources if row.message_count), kept)
    starts = [row.history_from for row in sources]
    return MergedRow(
        home,
        target,
        sources,
        _state(sources),
        dated.last_message_at,
        _latest(row.last_authored_at for row in sources),
        _latest(row.touched_at for row in sources),
        min((start for start in starts if start), default=None) if None not in starts else None,
        dated.tag_set,
    )


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    return max((time for time in times if time), default=None)


def _state(sources: Sequence[Row]) -> State:
    """Within one conversation unread beats read beats archived; then what dissolves, unless read, beats what stays."""
    by_conversation: dict[int, State] = {}
    for row in sources:
        other = by_conversation.get(row.conversation_id, row.state)
        by_conversation[row.conversation_id] = min(other, row.state, key=_WITHIN_ONE.index)
    return next((state for state in reversed(by_conversation.values()) if state is not State.READ), State.READ)


_WITHIN_ONE = (State.UNREAD, State.READ, State.ARCHIVED)
