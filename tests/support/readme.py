"""What service/contracts/README.md says to integrators, as they would copy it."""

import re
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "service" / "contracts" / "README.md"
_SECTION = "## For integrators\n"


def section() -> str:
    """The page for integrators."""
    _, found, rest = _PAGE.read_text().partition(_SECTION)
    assert found, "service/contracts/README.md has no section for integrators"
    return rest.partition("\n## ")[0]


def consumer() -> str:
    """The program that listens."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)
    return str(code)


def permissions(to: str) -> dict[str, str]:
    """Configure, write and read of the row that begins with ``to``: the first pattern of each cell."""
    (row,) = [line for line in section().splitlines() if line.startswith(f"| {to}")]
    cells = re.split(r"(?<!\\)\|", row)[2:5]
    patterns = [re.findall("`(.*?)`", cell)[0].replace(r"\|", "|") for cell in cells]
    return dict(zip(("configure", "write", "read"), patterns, strict=True))
