"""JSON on standard output, for machines."""

import sys
from typing import Any

import orjson


def write_json(value: Any) -> None:
    """One value on a line of its own, in UTF-8 whatever the terminal's encoding is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()
