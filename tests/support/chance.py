"""How often what is left to chance is tried."""

import os

_TIMES = int(os.environ.get("CLARION_TEST_TIMES", "1"))


def as_often(few: int) -> int:
    """So many rounds or examples in the suite, and as many times that as CLARION_TEST_TIMES says (tests/README.md)."""
    return few * _TIMES
