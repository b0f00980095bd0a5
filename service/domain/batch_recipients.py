"""What became of one recipient of a batch (CONTRACT 3.1)."""

from enum import StrEnum


class RecipientState(StrEnum):
    """Where a recipient stands; all but the first are final, unless the batch is sent again to those who failed."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"


def reason(state: RecipientState, error: str | None) -> str | None:
    """Why a recipient has no copy, as a code; ``error``: what is stored of it, of a failure its bare text."""
    match state:
        case RecipientState.FAILED:
            return f"delivery_failed: {error}"
        case RecipientState.SKIPPED:
            return error
        case _:
            return None
