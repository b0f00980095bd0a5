"""Which courses and groups a message is filed under (canvas/semantics.md 4.2)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Codes:
    """The context codes one user holds: ``all`` current or concluded, ``active`` current ones among them.

    ``has_active`` may be true with an empty ``active`` when only part of the codes was looked up.
    """

    all: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    has_active: bool = field(default=False)

    @property
    def counting(self) -> frozenset[str]:
        """The active codes if the user has any, else all."""
        return self.active if self.has_active or self.active else self.all


@dataclass(frozen=True, slots=True)
class Tagging:
    """What one message adds: to the conversation, and to each participant who receives it."""

    effective: tuple[str, ...]
    own: Mapping[int, tuple[str, ...]]


def union(old: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """Ordered union without repeats."""
    return tuple(dict.fromkeys((*old, *new)))


def majority(codes: Mapping[int, Codes]) -> tuple[str, ...]:
    """Codes held by more than half of the participants, most widely shared first, ties in reverse order.

    Step 4. A conversation of one has none.
    """
    if len(codes) == 1:
        return ()
    counts = Counter(code for held in codes.values() for code in held.all)
    shared = sorted((code for code, n in counts.items() if n > len(codes) // 2), reverse=True)
    return tuple(sorted(shared, key=lambda code: -counts[code]))


def infer(
    request_tags: Sequence[str],
    conversation_tags: Sequence[str],
    codes: Mapping[int, Codes],
    receivers: Iterable[int],
) -> Tagging:
    """canvas/semantics.md 4.2 steps 2 to 6 for one message.

    ``codes`` has every participant, ``receivers`` those who get the message.
    """
    counts = Counter(code for held in codes.values() for code in held.all)
    widely = majority(codes)
    effective = tuple(tag for tag in dict.fromkeys(request_tags) if counts[tag] > 1)
    if not effective and not conversation_tags:
        effective = widely
    own: dict[int, tuple[str, ...]] = {}
    for user in receivers:
        counting = codes[user].counting
        own[user] = tuple(t for t in effective if t in counting) or tuple(t for t in widely if t in counting)
    return Tagging(effective, own)


def participant_tags(old: Sequence[str], own: Sequence[str], held: Codes) -> tuple[str, ...]:
    """Step 6: tags of a participant's row after a message; concluded ones go once a current one exists."""
    merged = union(old, own)
    if held.has_active or held.active:
        return tuple(tag for tag in merged if tag in held.active)
    return merged
