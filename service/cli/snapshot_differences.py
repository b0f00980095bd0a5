"""Differences between a snapshot and the directory, as lines for people."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import orjson

from service.cli.table import printable
from sql.snapshots import Difference

_SORTS = {"lacking": "not in the directory", "beyond": "not in the snapshot", "other": "that differ"}


def lines_of(kind: str, differences: Sequence[Difference]) -> Iterator[str]:
    """A line for each, and one for those of its sort that are not shown."""
    for sort, group in groupby(differences, key=lambda each: each.difference):
        shown = list(group)
        yield from (f"{kind} {_name(each)}: {_words(each)}" for each in shown)
        if hidden := shown[0].total - len(shown):
            yield f"{kind}: {hidden:,} more {_SORTS[sort]}"


def _name(difference: Difference) -> str:
    ids = "" if difference.ids is None else " ".join(map(str, difference.ids))
    if difference.label is None:
        return ids
    return printable(difference.label) + (f" ({ids})" if ids else "")


def _words(difference: Difference) -> str:
    if difference.difference != "other":
        return _SORTS[difference.difference]
    expected: dict[str, Any] = orjson.loads(difference.expected or "{}")
    held: dict[str, Any] = orjson.loads(difference.held or "{}")
    return "; ".join(
        f"{key} is {_value(held.get(key))}, in the snapshot {_value(value)}"
        for key, value in expected.items()
        if held.get(key) != value
    )


def _value(value: Any) -> str:
    return printable(orjson.dumps(value).decode())
