"""Dates as the API writes them (canvas/conventions.md 6)."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """``2024-05-01T12:34:56Z``: UTC, whole seconds. The moment must know its time zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
