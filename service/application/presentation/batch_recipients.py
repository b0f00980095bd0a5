"""Recipients of a batch as the API lists them, in JSON and as CSV (CONTRACT 3.1)."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from service.application.presentation.shapes import BatchRecipient
from service.domain.batch_recipients import RecipientState, reason
from service.domain.dates import iso
from sql.batch_recipients import RecipientRow

COLUMNS = ("user_id", "state", "conversation_id", "message_id", "error", "updated_at")

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def present_recipients(found: Sequence[RecipientRow]) -> list[BatchRecipient]:
    """Objects with a key for each of COLUMNS."""
    return [_recipient(row) for row in found]


def _recipient(row: RecipientRow) -> BatchRecipient:
    state = RecipientState(row.state)
    return {
        "user_id": row.user_id,
        "state": state,
        "conversation_id": row.conversation_id,
        "message_id": row.message_id,
        "error": reason(state, row.error),
        "updated_at": row.updated_at,
    }


def csv_header() -> bytes:
    """The line with the names of the columns."""
    return _csv([COLUMNS])


def csv_lines(found: Sequence[RecipientRow]) -> bytes:
    """A line for each, with the values of the JSON; null is an empty cell, and no text is a formula."""
    return _csv(
        (
            each["user_id"],
            each["state"],
            each["conversation_id"],
            each["message_id"],
            _text(each["error"]),
            iso(each["updated_at"]),
        )
        for each in present_recipients(found)
    )


def _text(value: str | None) -> str | None:
    return f"'{value}" if value is not None and value.startswith(_FORMULA) else value


def _csv(lines: Iterable[Sequence[object]]) -> bytes:
    written = StringIO(newline="")
    csv.writer(written).writerows(lines)
    return written.getvalue().encode()
