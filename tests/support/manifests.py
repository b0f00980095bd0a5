"""What the files for compose, Kubernetes and systemd have in common: they set Clarion's variables."""

import re
from collections.abc import Iterable
from pathlib import Path

_EXAMPLE = Path(__file__).parents[2] / "deploy" / "env.example"
_FILE = "_FILE"  # any variable may be a file's content instead (CONTRACT 2)


def unknown_settings(names: Iterable[str]) -> set[str]:
    """Those of Clarion's variables that deploy/env.example does not list."""
    known = set(re.findall(r"^(CLARION_\w+)=", _EXAMPLE.read_text("utf-8"), re.MULTILINE))
    return {name for name in names if name.startswith("CLARION_") and name.removesuffix(_FILE) not in known}
