"""Standard input, where a command takes it for a file or a secret."""

import sys
from typing import TextIO

from service.cli.failure import Failed

STDIN = "-"  # as an argument


def standard_input() -> TextIO:
    """Failed where there is none: a process may be started without."""
    if sys.stdin is None:
        raise Failed(f"{STDIN} is standard input, and it is closed")
    return sys.stdin
