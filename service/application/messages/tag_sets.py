"""Tag lists as numbers: interning them, and filing each recipient of a chunk under the right ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.domain import tags
from service.domain.tags import Codes
from sql.chunks import PendingChunk
from sql.connection import Connection
from sql.deliveries import Retag
from sql.tags import (
    codes_of_users,
    conversation_tag_sets,
    intern_tag_sets,
    retag_conversations,
    retag_participants,
    tag_sets_by_id,
)

# Distinct tag lists of an institution number in the thousands; each entry is a few hundred bytes.
_REMEMBERED = 20_000


class TagSets:
    """Numbers of tag lists, remembered per process once they are committed."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {(): 0}
        self._lists: dict[int, tuple[str, ...]] = {0: ()}

    async def intern(self, conn: Connection, lists: Iterable[tuple[str, ...]]) -> Mapping[tuple[str, ...], int]:
        """The number of every list."""
        wanted = set(lists)
        numbers = {codes: self._numbers[codes] for codes in wanted if codes in self._numbers}
        while missing := wanted - numbers.keys():
            for codes, number, settled in await intern_tag_sets(conn, missing):
                numbers[codes] = number
                if settled and len(self._numbers) < _REMEMBERED:
                    self._numbers[codes] = number
        return numbers

    async def lists(self, conn: Connection, numbers: Iterable[int]) -> Mapping[int, tuple[str, ...]]:
        """The lists behind numbers met in rows."""
        wanted = set(numbers)
        found = {number: self._lists[number] for number in wanted if number in self._lists}
        if missing := sorted(wanted - found.keys()):
            for codes, number, settled in await tag_sets_by_id(conn, missing):
                found[number] = codes
                if settled and len(self._lists) < _REMEMBERED:
                    self._lists[number] = codes
        return found


@dataclass(frozen=True, slots=True)
class ChunkTags:
    """Tag set numbers parallel to a chunk's recipients, or one that stands for all."""

    conversation: Sequence[int]
    own: Sequence[int]
    sender: Sequence[int]


def _patterns(pending: PendingChunk) -> list[tuple[Codes, Sequence[int] | None]]:
    """Who holds what: (codes shared with the sender, positions in the chunk), None for all recipients at once."""
    everybody = set(pending.recipients)
    held = {pair: holders & everybody for pair, holders in pending.held.items()}
    held = {pair: holders for pair, holders in held.items() if holders}
    if all(holders == everybody for holders in held.values()):
        return [(_codes(held), None)]
    by_pattern: dict[frozenset[tuple[str, bool]], list[int]] = {}
    for position, user in enumerate(pending.recipients):
        pattern = frozenset(pair for pair, holders in held.items() if user in holders)
        by_pattern.setdefault(pattern, []).append(position)
    return [(_codes(pattern), positions) for pattern, positions in by_pattern.items()]


def _codes(pairs: Iterable[tuple[str, bool]]) -> Codes:
    found = list(pairs)
    return Codes(
        frozenset(code for code, _ in found if code),
        frozenset(code for code, active in found if active and code),
        any(active for _, active in found),
    )


async def chunk_tags(conn: Connection, tag_sets: TagSets, pending: PendingChunk) -> ChunkTags:
    """Applies canvas/semantics.md 4.2 to every pair of sender and recipient, once per distinct case."""
    size = len(pending.recipients)
    sender = pending.message.author_id
    outcomes = []
    for codes, positions in _patterns(pending):
        recipient = sender + 1  # stands for anyone but the sender
        pair = {sender: pending.sender, recipient: codes}
        if list(pending.recipients) == [sender]:
            pair, recipient = {sender: pending.sender}, sender
        outcomes.append((tags.infer(pending.tags, (), pair, pair), recipient, positions))
    numbers = await tag_sets.intern(
        conn, {codes for tagging, _, _ in outcomes for codes in (tagging.effective, *tagging.own.values())}
    )
    conversation, own, sent = [0] * size, [0] * size, [0] * size
    for tagging, recipient, positions in outcomes:
        row = (numbers[tagging.effective], numbers[tagging.own[recipient]], numbers[tagging.own[sender]])
        if positions is None:
            return ChunkTags(*([number] for number in row))
        for n in positions:
            conversation[n], own[n], sent[n] = row
    return ChunkTags(conversation, own, sent)


async def retag(conn: Connection, tag_sets: TagSets, request_tags: Sequence[str], rows: Sequence[Retag]) -> None:
    """Merges a message's tags into reused conversations whose tags differ from it (semantics.md 4.2 steps 5 and 6)."""
    added = {row.conversation_id: row.added for row in rows}
    before = await conversation_tag_sets(conn, list(added))
    numbers_met = {*before.values(), *added.values(), *(n for r in rows for n in (r.tag_set, r.new_tag_set))}
    known = await tag_sets.lists(conn, numbers_met)
    held = await codes_of_users(conn, list({row.user_id for row in rows}))
    merged = {row: tags.participant_tags(known[row.tag_set], known[row.new_tag_set], held[row.user_id]) for row in rows}
    grown = {}
    for conversation, number in added.items():
        old = known[before[conversation]]
        # Step 4's fallback is for conversations without tags; the others only take what the request named.
        new = [code for code in known[number] if not old or code in request_tags]
        grown[conversation] = tags.union(old, new)
    numbers = await tag_sets.intern(conn, [*merged.values(), *grown.values()])
    changed = [
        (row.conversation_id, row.user_id, numbers[codes])
        for row, codes in merged.items()
        if numbers[codes] != row.tag_set
    ]
    if changed:
        await retag_participants(conn, changed)
    collected = [(c, numbers[codes]) for c, codes in grown.items() if numbers[codes] != before[c]]
    if collected:
        await retag_conversations(conn, collected)
