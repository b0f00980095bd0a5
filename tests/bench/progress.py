"""Lines of progress on stderr; stdout is for the report."""

import sys


def log(line: str) -> None:
    """Written at once, also where stderr is a pipe."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
