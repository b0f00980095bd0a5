"""The lanes that a relay leaves alone for a while, or takes last: those whose events the broker did not confirm."""

from collections.abc import Callable
from time import monotonic

from sql.outbox import BATCH_LANE, LANES

FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds until such a lane is tried again


class LaneRests:
    """One queue that confirms nothing holds up every event that is routed to it, and no other.

    A lane that was not confirmed rests, each time twice as long. Lanes with events of the same names come last, since
    the exchange routes by name: of them one is tried when no other lane has anything.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._pauses: dict[int, float] = {}
        self._until: dict[int, float] = {}
        self._doubtful: set[int] = set()

    @property
    def resting(self) -> list[int]:
        """Not to be taken now."""
        return [lane for lane, until in self._until.items() if self._now() < until]

    @property
    def doubtful(self) -> list[int]:
        """To be taken only when no other lane has anything."""
        return list(self._doubtful)

    def unconfirmed(self, lane: int) -> float:
        """Notes that events of the lane were not confirmed; seconds that it rests."""
        pause = min(2 * self._pauses.get(lane, FIRST_REST / 2), LONGEST_REST)
        self._pauses[lane], self._until[lane] = pause, self._now() + pause
        self._doubtful |= {other for other in LANES if (other == BATCH_LANE) == (lane == BATCH_LANE)}
        return pause

    def confirmed(self, lane: int) -> None:
        """Notes that all that was published of the lane was confirmed."""
        self._pauses.pop(lane, None)
        self._until.pop(lane, None)
        self._doubtful.discard(lane)
