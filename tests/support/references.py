"""Files, modules and tests that comments, docstrings and pages name, and whether they exist."""

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support import citations
from tests.support.citations import ROOT

_FILE = re.compile(r"(?<![\w.:/<*~{-])(?P<name>(?:\.\./)*(?:[\w-]+/)*[\w-]+\.(?:py|sql))\b(?![\w*-])")
_DOTTED = re.compile(r"(?<![\w./-])(?P<name>(?:service|sql|workers|deploy|tests)(?:\.\w+)+)")
_TEST = re.compile(r"(?<![\w/.])(?P<name>test_\w+)(?![\w/.*])")
_PLACEHOLDER = re.compile(r"[A-Z]{2}")  # NOUN.py, tests.bench.NAME
_DOCSTRING_FOLLOWS = {None, tokenize.NEWLINE, tokenize.INDENT}
_SHOWS_FAULTS = ROOT / "tests" / "contracts" / "test_references.py"


@cache
def _files() -> frozenset[str]:
    tops = (top for top in ROOT.iterdir() if top.is_dir() and not top.name.startswith("."))
    return frozenset(path.relative_to(ROOT).as_posix() for top in tops for path in top.rglob("*.*"))


@cache
def _test_names() -> frozenset[str]:
    tests = (path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    return frozenset(name for text in tests for name in re.findall(r"def (test_\w+)", text))


def files() -> Iterator[Path]:
    """Every file of the repository that may name others."""
    yield from (path for path in citations.files() if path != _SHOWS_FAULTS)
    yield from sorted((ROOT / ".github").glob("*.md"))


def faults(path: Path, text: str | None = None) -> list[tuple[int, str]]:
    """(line, name) of each file, module, object of a module or test that the prose of the file names in vain.

    ``text``: in place of the file's own.
    """
    found: list[tuple[int, str]] = []
    for first, prose in _prose(path, path.read_text(errors="replace") if text is None else text):
        for pattern, exists in ((_FILE, _is_file), (_DOTTED, _is_dotted), (_TEST, _is_test)):
            found += [
                (first + prose.count("\n", 0, match.start()), match["name"])
                for match in pattern.finditer(prose)
                if not _PLACEHOLDER.search(match["name"]) and not exists(match["name"], path)
            ]
    return sorted(found)


def _prose(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """(line of its beginning, comment, docstring or page)."""
    if path.suffix == ".py":
        before: int | None = None
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and before in _DOCSTRING_FOLLOWS):
                yield token.start[0], token.string
            elif token.type != tokenize.NL:
                before = token.type
    elif path.suffix == ".sql":
        yield from ((number, line.partition("--")[2]) for number, line in enumerate(text.splitlines(), 1))
    elif path.suffix == ".md":
        yield 1, text


def _is_file(name: str, named_in: Path) -> bool:
    """A name without its folders is enough where the folder is clear."""
    if name.startswith("../"):
        return (named_in.parent / name).is_file()
    return any(file == name or file.endswith(f"/{name}") for file in _files())


def _is_dotted(name: str, _: Path) -> bool:
    """A module, and behind it what stands in its text."""
    parts = name.split(".")
    if parts[-1] in {"py", "sql", "md"}:
        return True  # the name of a file, as of a module called like a package
    for end in range(len(parts), 0, -1):
        place = "/".join(parts[:end])
        for module in (f"{place}.py", f"{place}/__init__.py"):
            if module in _files():
                text = (ROOT / module).read_text()
                return all(re.search(rf"\b{part}\b", text) for part in parts[end:])
    return False


def _is_test(name: str, _: Path) -> bool:
    """A test by its name, or a file of tests without its ending."""
    return name in _test_names() or any(file.endswith(f"/{name}.py") for file in _files())
