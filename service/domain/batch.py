"""A bulk send's life and progress (canvas/semantics.md 11, CONTRACT 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType


class BatchState(StrEnum):
    """Lifecycle of a batch: scheduled or created, sending, then one of the last three; paused in between."""

    SCHEDULED = "scheduled"
    CREATED = "created"
    SENDING = "sending"
    PAUSED = "paused"
    SENT = "sent"
    CANCELLED = "cancelled"
    ERROR = "error"


# Waiting for a worker counts as much as this many deliveries.
_WAIT = 20

RUNNING = (BatchState.CREATED, BatchState.SENDING)
FINAL = (BatchState.SENT, BatchState.CANCELLED, BatchState.ERROR)


class Move(StrEnum):
    """What its sender does with a batch (CONTRACT 3.1)."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


# From which states each move may be made.
MOVABLE: Mapping[Move, tuple[BatchState, ...]] = MappingProxyType(
    {
        Move.CANCEL: (BatchState.SCHEDULED, *RUNNING, BatchState.PAUSED),
        Move.PAUSE: RUNNING,
        Move.RESUME: (BatchState.PAUSED,),
        Move.RETRY: FINAL,
    }
)


class SkipReason(StrEnum):
    """Why a recipient does not get a message that was accepted (CONTRACT 3.1)."""

    CANCELLED = "cancelled"
    USER_DELETED = "user_deleted"
    NO_LONGER_REACHABLE = "no_longer_reachable"


# A send in fewer steps shows no progress and leaves workers idle at its end; smaller chunks pay more for their
# transaction than for their rows.
FEWEST_CHUNKS = 50
SMALLEST_CHUNK = 500
# A thread that is there costs twice as much as a new one, and a reader waits for a whole chunk (CONTRACT 3.3).
LARGEST_REUSING_CHUNK = 1000


# With a pace, so many chunks make a minute, and each minute has its share; but no send is cut into more than so many.
CHUNKS_A_MINUTE = 60
MOST_PACED_CHUNKS = 50_000


def chunk_size(recipients: int, largest: int, *, reusing: bool = False, pace: int = 0) -> int:
    """How many recipients of a send share a transaction; ``largest`` rules.

    ``reusing``: it goes into threads that are there, where they are. ``pace``: recipients a minute; 0: any.
    """
    if reusing:
        largest = min(largest, LARGEST_REUSING_CHUNK)
    size = min(largest, max(SMALLEST_CHUNK, recipients // FEWEST_CHUNKS))
    return min(size, max(paced_chunk(pace), recipients // MOST_PACED_CHUNKS)) if pace else size


def paced_chunk(pace: int) -> int:
    """How many recipients may have a message at once where so many may in a minute."""
    return max(1, pace // CHUNKS_A_MINUTE)


@dataclass(frozen=True, slots=True)
class Progress:
    """Counters of a batch; delivered + failed + skipped never exceeds total.

    ``send_at``: when it is to start, where it was scheduled. ``error``: why it ended in error as a whole. ``rate``:
    recipients per second over the last seconds, null before the first one.
    """

    state: BatchState
    total: int
    delivered: int
    failed: int
    skipped: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    send_at: datetime | None = None
    error: str | None = None
    rate: float | None = None

    @property
    def done(self) -> int:
        """Recipients delivered, failed or skipped."""
        return self.delivered + self.failed + self.skipped

    @property
    def begun_at(self) -> datetime:
        """When it could begin: accepted, or due."""
        return self.send_at or self.created_at

    @property
    def finished(self) -> bool:
        """Whether nothing of it can change any more but by a new move; chunks in work outlast a cancel."""
        return self.state in FINAL and self.finished_at is not None


def allows(progress: Progress, move: Move) -> bool:
    """Whether a batch that has come so far may be moved so."""
    return progress.state in MOVABLE[move] and (move is not Move.RETRY or progress.failed > 0)


def completion(progress: Progress, now: datetime) -> float | int:
    """0..1 as Canvas counts it: a share for waiting that grows with time, the rest by deliveries."""
    if progress.state is BatchState.SENT:
        return 1
    if progress.state is BatchState.SCHEDULED:
        return 0
    if progress.state is BatchState.CREATED:
        minutes = max((now - progress.begun_at).total_seconds() / 60, 0.0)
        return float(_WAIT / (progress.total + _WAIT) * (1 - 2**-minutes))
    return (_WAIT + progress.delivered) / (progress.total + _WAIT)


def eta(progress: Progress, now: datetime) -> datetime | None:
    """When the last recipient will be reached at the present rate; None when nothing moves or all is done."""
    left = progress.total - progress.done
    if progress.state is not BatchState.SENDING or not progress.rate or left == 0:
        return None
    return now + timedelta(seconds=left / progress.rate)
