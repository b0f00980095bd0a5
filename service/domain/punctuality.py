"""What counts as in time for a bulk send."""

from datetime import timedelta

IN_TIME = timedelta(seconds=10)  # from when it could begin, accepted or due, to the inbox


def share_in_time(in_time: int, recipients: int) -> float:
    """0..1; 1 where there were no recipients, for nothing was late."""
    return in_time / recipients if recipients else 1.0
