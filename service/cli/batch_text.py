"""Batches and their recipients as text for people."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from service.cli.moments import shown_moment
from service.cli.table import printable
from service.client.batches import Batch

_BEGINNING = 60  # characters of a message
_COLUMNS = ("ID", "STATE", "TOTAL", "DELIVERED", "FAILED", "SKIPPED", "CREATED", "MESSAGE")
_WIDTHS = (14, 9, 14, 24)  # of all columns but the last; a page knows nothing of the next one's

RECIPIENT_HEAD = "  ".join(
    [
        *(name.ljust(width) for name, width in zip(("USER", "STATE", "CONVERSATION", "UPDATED"), _WIDTHS, strict=True)),
        "ERROR",
    ]
)


def batch_table(batches: Sequence[Batch]) -> list[tuple[str, ...]]:
    """A row of cells for each, below the names of the columns."""
    return [_COLUMNS, *map(_cells, batches)]


def _cells(batch: Batch) -> tuple[str, ...]:
    counts = (batch.total, batch.delivered, batch.failed, batch.skipped)
    return (
        str(batch.id),
        batch.state,
        *(f"{count:,}" for count in counts),
        shown_moment(batch.created_at),
        _beginning(batch.message.body),
    )


def batch_rows(batch: Batch) -> list[tuple[str, str]]:
    """Name and value of all that is known of one."""
    left = batch.seconds_left
    rows = [
        ("batch", str(batch.id)),
        ("state", batch.state),
        ("error", batch.error and printable(batch.error)),
        ("recipients", f"{batch.total:,}"),
        ("delivered", f"{batch.delivered:,}"),
        ("failed", f"{batch.failed:,}"),
        ("skipped", f"{batch.skipped:,}"),
        ("rate", None if batch.rate is None else f"{batch.rate:,.1f}/s"),
        ("time left", None if left is None else str(timedelta(seconds=round(left)))),
        ("created", shown_moment(batch.created_at)),
        ("starts", batch.send_at and shown_moment(batch.send_at)),
        ("started", batch.started_at and shown_moment(batch.started_at)),
        ("finished", batch.finished_at and shown_moment(batch.finished_at)),
        ("message", _beginning(batch.message.body)),
    ]
    return [(name, value) for name, value in rows if value]


def recipient_line(row: dict[str, Any]) -> str:
    """One of ``batch_recipients``, below RECIPIENT_HEAD."""
    conversation = row["conversation_id"]
    cells = (
        str(row["user_id"]),
        row["state"],
        "-" if conversation is None else str(conversation),
        shown_moment(datetime.fromisoformat(row["updated_at"])),
    )
    padded = (cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return "  ".join([*padded, printable(row["error"] or "")]).rstrip()


def _beginning(text: str) -> str:
    words = " ".join(text.split())
    return printable(words if len(words) <= _BEGINNING else words[: _BEGINNING - 1] + "…")
