"""Programs that come with the packages of the tests."""

import sys
from pathlib import Path


def program(name: str) -> str:
    """Its path in this environment, whether that is on PATH or not."""
    return str(Path(sys.executable).with_name(name))
