"""The failure of a deploy script."""


class CannotRun(Exception):
    """The script cannot go on; the message is the one line the caller reads, and what to do about it."""
