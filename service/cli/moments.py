"""Moments for people: in their zone on a terminal, in UTC elsewhere."""

import sys
from datetime import UTC, datetime


def shown_moment(moment: datetime | None) -> str:
    """``-`` for none."""
    if moment is None:
        return "-"
    if sys.stdout.isatty():
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
