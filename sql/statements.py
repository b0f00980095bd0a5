"""Named SQL statements, read once from sql/queries/*.sql.

A file holds blocks of the form::

    -- name: finish_chunk :one
    -- Why the statement exists, in a line or more.
    UPDATE ...

The word behind the colon says what comes back: ``one`` row or none, ``many`` rows, or ``none``.
"""

import re
from dataclasses import dataclass
from importlib import resources

_HEAD = re.compile(r"^-- name: (?P<name>[a-z0-9_]+) :(?P<shape>one|many|none)\n", re.MULTILINE)


@dataclass(frozen=True)
class Statement:
    """One named statement with positional parameters ($1, $2, …)."""

    name: str
    shape: str
    text: str
    source: str


def _read() -> dict[str, Statement]:
    found: dict[str, Statement] = {}
    for file in sorted(resources.files("sql").joinpath("queries").iterdir(), key=lambda f: f.name):
        heads = list(_HEAD.finditer(text := file.read_text("utf-8")))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        for head, end in zip(heads, ends, strict=True):
            name = head["name"]
            if name in found:
                raise ValueError(f"statement {name} stands in {found[name].source} and in {file.name}")
            body = text[head.end() : end].strip().removesuffix(";")
            found[name] = Statement(name, head["shape"], body, file.name)
    return found


STATEMENTS = _read()


def text_of(name: str) -> str:
    """The text of a named statement; KeyError when there is none, at import of the module that asks."""
    return STATEMENTS[name].text
