"""How far a batch update is and what it says at its end (canvas/semantics.md 10)."""

from collections.abc import Sequence
from enum import StrEnum

MAX_CONVERSATIONS = 500
MISSING = "The user is not participating in this conversation"


class ProgressState(StrEnum):
    """Lifecycle: queued, then one of the last two. A cancelled one is failed.

    The whole is one transaction, so it is never seen running; a row in that state was begun by an earlier release,
    slice by slice.
    """

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


def completion(done: int, total: int, state: ProgressState) -> float:
    """Percent of what was asked for; an update of nothing is done at once."""
    if total == 0:
        return 0.0 if state is ProgressState.QUEUED else 100.0
    return 100.0 * done / total


def final_state(total: int, refused: int) -> ProgressState:
    """Completed when anything succeeded."""
    return ProgressState.COMPLETED if total > refused else ProgressState.FAILED


def summary(total: int, refused: Sequence[str]) -> str:
    """The message at the end: how many succeeded, then who did not. ``refused`` are ids as they were sent."""
    succeeded = total - len(refused)
    first = "1 conversation processed" if succeeded == 1 else f"{succeeded} conversations processed"
    return f"{first}\n{MISSING}: {', '.join(refused)}" if refused else first
