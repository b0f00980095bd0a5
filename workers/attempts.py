"""How often work is attempted, and what its row keeps of a failure: the same for chunks, replies and batch updates."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from service.runtime.postgres import CONFLICT

log = structlog.get_logger(__name__)

CONFLICT_RETRIES = 20  # attempts at once when other transactions write the same rows; each of theirs ends a conflict
MAX_ATTEMPTS = 5  # failures of the work itself before it is given up; the wait between them doubles
MAX_REDELIVERIES = 10  # of one row's commands that came back unsettled; then the row is given up
TOO_MANY_REDELIVERIES = f"handed out {MAX_REDELIVERIES} times without a verdict: its workers may have died of it"
ERROR_LIMIT = 2000  # characters kept of an error

Result = TypeVar("Result")


async def retry_conflicts(step: Callable[[], Awaitable[Result]], *, event: str) -> Result:
    """Runs a step that is one transaction; after a conflict again, on what the others left. Logs each as ``event``.

    RuntimeError after CONFLICT_RETRIES.
    """
    for attempt in range(CONFLICT_RETRIES):
        try:
            return await step()
        except CONFLICT as error:
            log.info(event, attempt=attempt, error=type(error).__name__)
    raise RuntimeError(f"other sends were in the way {CONFLICT_RETRIES} times")


def error_text(error: Exception) -> str:
    """The error as a row can keep it: short, and without the NUL that PostgreSQL stores nowhere."""
    return f"{type(error).__name__}: {error}".replace("\0", "")[:ERROR_LIMIT]
