"""A bulk send's life and progress (canvas/semantics.md 11, CONTRACT 3.1)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


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


# A send in fewer steps shows no progress and leaves workers idle at its end; smaller chunks pay more for their
# transaction than for their rows.
FEWEST_CHUNKS = 50
SMALLEST_CHUNK = 500


def chunk_size(recipients: int, largest: int) -> int:
    """How many recipients of a send share a transaction; ``largest`` rules."""
    return min(largest, max(SMALLEST_CHUNK, recipients // FEWEST_CHUNKS))


@dataclass(frozen=True, slots=True)
class Progress:
    """Counters of a batch; delivered + failed + skipped never exceeds total."""

    state: BatchState
    total: int
    delivered: int
    failed: int
    skipped: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    send_at: datetime | None = None  # when it starts, or was to start

    @property
    def done(self) -> int:
        """Recipients delivered, failed or skipped."""
        return self.delivered + self.failed + self.skipped

    @property
    def begun_at(self) -> datetime:
        """When it could begin: accepted, or due."""
        return self.send_at or self.created_at


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


def rate(progress: Progress, now: datetime) -> float:
    """Recipients per second since the first delivery; 0 before it."""
    if progress.started_at is None:
        return 0.0
    # The first chunk was on its way before started_at, so the time counts from the acceptance.
    seconds = ((progress.finished_at or now) - progress.begun_at).total_seconds()
    return progress.done / seconds if seconds > 0 else 0.0


def eta(progress: Progress, now: datetime) -> datetime | None:
    """When the last recipient will be reached at the present rate; None when nothing moves or all is done."""
    pace = rate(progress, now)
    left = progress.total - progress.done
    if progress.state is not BatchState.SENDING or pace == 0 or left == 0:
        return None
    return now + timedelta(seconds=left / pace)
