"""Named SQL statements, read once from sql/queries/*.sql, and the ways to run them.

A file holds blocks of the form::

    -- name: finish_chunk :one
    -- Why the statement exists, in a line or more.
    UPDATE chunks SET state = :state::text WHERE batch_id = :batch_id::bigint RETURNING ...

``:name`` is a parameter, given by that name at every call. The mark behind the statement's name says what comes back,
and which of the classes below runs it: a ``:single`` row that is always there, ``:one`` row or none, ``:many`` rows,
a ``:column`` of values, one ``:value``, or ``:none``.
"""

import re
from dataclasses import dataclass
from importlib import resources
from typing import Any, Generic, TypeVar, cast

from sql.connection import Connection

_HEAD = re.compile(r"^-- name: (?P<name>[a-z0-9_]+) :(?P<mark>single|one|many|column|value|none)\n", re.MULTILINE)
# What is no parameter is matched first: comments, texts in quotes, casts.
_PARAMETER = re.compile(r"--[^\n]*|'[^']*'|::|:(?P<name>[a-z_][a-z0-9_]*)")

RowT = TypeVar("RowT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Statement:
    """One named statement; ``text`` has the parameters as $1, $2, … in the order of ``parameters``."""

    name: str
    mark: str
    text: str
    parameters: tuple[str, ...]
    source: str


def _numbered(body: str) -> tuple[str, tuple[str, ...]]:
    """The statement as PostgreSQL takes it: names become numbers, in the order in which they first appear."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found["name"]
        return found[0] if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

    return _PARAMETER.sub(number, body), tuple(numbers)


def _read() -> dict[str, Statement]:
    found: dict[str, Statement] = {}
    for file in sorted(resources.files("sql").joinpath("queries").iterdir(), key=lambda f: f.name):
        heads = list(_HEAD.finditer(text := file.read_text("utf-8")))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        for head, end in zip(heads, ends, strict=True):
            name = head["name"]
            if name in found:
                raise ValueError(f"statement {name} stands in {found[name].source} and in {file.name}")
            body, parameters = _numbered(text[head.end() : end].strip().removesuffix(";"))
            found[name] = Statement(name, head["mark"], body, parameters, file.name)
    return found


STATEMENTS = _read()


class _Call:
    """A statement that can be run; KeyError for an unknown name, ValueError for another mark, both at import."""

    mark = ""

    def __init__(self, name: str) -> None:
        self.statement = STATEMENTS[name]
        self._names = frozenset(self.statement.parameters)
        if self.statement.mark != self.mark:
            raise ValueError(f"{name} is marked :{self.statement.mark} and called as :{self.mark}")

    def _arguments(self, given: dict[str, object]) -> list[object]:
        if given.keys() != self._names:
            raise TypeError(f"{self.statement.name} takes {sorted(self._names)}, not {sorted(given)}")
        return [given[name] for name in self.statement.parameters]


class _OfRows(_Call, Generic[RowT]):
    """A statement whose rows are made into ``row``, whose fields are the columns in their order."""

    def __init__(self, name: str, row: type[RowT]) -> None:
        super().__init__(name)
        self.row = row


class Single(_OfRows[RowT]):
    """A statement of one row whatever the parameters."""

    mark = "single"

    async def __call__(self, conn: Connection, **parameters: Any) -> RowT:
        """The row; LookupError where the statement does not keep its promise."""
        found = await conn.fetchrow(self.statement.text, *self._arguments(parameters))
        if found is None:
            raise LookupError(f"{self.statement.name} is to have one row and had none")
        return self.row(*found)


class One(_OfRows[RowT]):
    """A statement of at most one row."""

    mark = "one"

    async def __call__(self, conn: Connection, **parameters: Any) -> RowT | None:
        """The row, or None."""
        found = await conn.fetchrow(self.statement.text, *self._arguments(parameters))
        return None if found is None else self.row(*found)


class Many(_OfRows[RowT]):
    """A statement of any number of rows."""

    mark = "many"

    async def __call__(self, conn: Connection, **parameters: Any) -> list[RowT]:
        """The rows, in the statement's order."""
        return [self.row(*found) for found in await conn.fetch(self.statement.text, *self._arguments(parameters))]


class Column(_Call, Generic[ValueT]):
    """A statement of one column: ``Column[int]("pending_positions")``."""

    mark = "column"

    async def __call__(self, conn: Connection, **parameters: Any) -> list[ValueT]:
        """The values, in the statement's order."""
        return [found[0] for found in await conn.fetch(self.statement.text, *self._arguments(parameters))]


class Value(_Call, Generic[ValueT]):
    """A statement of one value: ``Value[int]("count_batches")``; ``Value[int | None]`` where there may be no row."""

    mark = "value"

    async def __call__(self, conn: Connection, **parameters: Any) -> ValueT:
        """The value."""
        return cast("ValueT", await conn.fetchval(self.statement.text, *self._arguments(parameters)))


class Command(_Call):
    """A statement that brings nothing back."""

    mark = "none"

    async def __call__(self, conn: Connection, **parameters: Any) -> int:
        """How many rows it wrote; 0 for a statement that does not say."""
        tag = await conn.execute(self.statement.text, *self._arguments(parameters))
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0
