"""How much of what messages forward one answer shows (canvas/semantics.md 7.6).

A message that forwards two which forward two … doubles with every level, so a few short requests could ask for an
answer of any size.
"""

from collections.abc import Iterable, Mapping, Sequence

# Of forwarded messages in one answer, as JSON in UTF-8.
MAX_FORWARDED_BYTES = 2_000_000
# As many different ones are looked at.
MAX_FORWARDED = 2_000
# JSON encoders stop at 254 levels.
MAX_FORWARDED_DEPTH = 100

Tree = Mapping[int, Sequence[int]]
# What stands below the messages of the answer, and what stands below forwarded ones.
_Placed = tuple[dict[int, Sequence[int]], dict[int, Sequence[int]]]


class Forwards:
    """Which forwarded messages stand below each message of one answer.

    All that is forwarded, at every place where it is, as long as that is within the limits; else each message once, as
    near to the top as it stands, and what is beyond the limits not at all.
    """

    def __init__(self, shown: Sequence[int], below: Tree, sizes: Mapping[int, int]) -> None:
        """``shown``: the messages of the answer, one that comes twice given twice. ``below``: what every message
        forwards, in the order in which it is shown; ids without a size are unknown. ``sizes``: in bytes, without what
        is below.
        """
        self._complete = _fits(shown, below, sizes)
        known = {id_: [child for child in children if child in sizes] for id_, children in below.items()}
        self._below_shown, self._below_forwarded = _everywhere(known) if self._complete else _once(shown, known, sizes)

    def below_shown(self, message_id: int) -> Sequence[int]:
        """What a message of the answer itself forwards; asked once for each time that it is shown."""
        if self._complete:
            return self._below_shown.get(message_id, ())
        return self._below_shown.pop(message_id, ())

    def below_forwarded(self, message_id: int) -> Sequence[int]:
        """What a forwarded message forwards in turn."""
        return self._below_forwarded.get(message_id, ())

    def forwarded_by(self, shown: Iterable[int]) -> set[int]:
        """All messages that stand below these of the answer, however deep. To be asked before any is shown."""
        found: set[int] = set()
        waiting = [child for id_ in shown for child in self._below_shown.get(id_, ())]
        while waiting:
            id_ = waiting.pop()
            if id_ not in found:
                found.add(id_)
                waiting.extend(self.below_forwarded(id_))
        return found


def _fits(shown: Iterable[int], below: Tree, sizes: Mapping[int, int]) -> bool:
    """Whether all can be shown at every place; looks no further than the limits."""
    left = MAX_FORWARDED_BYTES
    waiting = [(id_, 0) for id_ in shown]
    while waiting:
        id_, depth = waiting.pop()
        for child in below.get(id_, ()):
            left -= sizes.get(child, 0)
            if left < 0 or depth >= MAX_FORWARDED_DEPTH:
                return False
            waiting.append((child, depth + 1))
    return True


def _everywhere(below: Tree) -> _Placed:
    return dict(below), dict(below)


def _once(shown: Iterable[int], below: Tree, sizes: Mapping[int, int]) -> _Placed:
    """Level by level, from the top."""
    left = MAX_FORWARDED_BYTES
    placed: set[int] = set()

    def place(level: Iterable[int]) -> dict[int, Sequence[int]]:
        nonlocal left
        found: dict[int, Sequence[int]] = {}
        for id_ in level:
            kept = []
            for child in below.get(id_, ()):
                if child not in placed and sizes[child] <= left:
                    placed.add(child)
                    left -= sizes[child]
                    kept.append(child)
            found[id_] = kept
        return found

    below_shown = place(dict.fromkeys(shown))
    below_forwarded: dict[int, Sequence[int]] = {}
    level = [child for kept in below_shown.values() for child in kept]
    for _ in range(MAX_FORWARDED_DEPTH - 1):
        if not level:
            break
        found = place(level)
        below_forwarded |= found
        level = [child for kept in found.values() for child in kept]
    return below_shown, below_forwarded
