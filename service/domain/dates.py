"""Dates as the API writes them (canvas/conventions.md 6)."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """``2024-05-01T12:34:56Z``: UTC, whole seconds. The moment must know its time zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_iso(text: str) -> datetime | None:
    """A moment a client wrote in ISO 8601: UTC without an offset, midnight without a time; None when it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the first of January of the year 1, east of Greenwich, is in no year
        return None
