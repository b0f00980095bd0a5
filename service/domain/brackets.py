"""Parameter names with brackets (``conversation[starred]``, ``recipients[]``) as nested values.

The rules are those of Rack, on which Canvas stands (canvas/conventions.md 1), with two additions, because
real clients send arrays that way: a bare key that is repeated keeps all its values (CONTRACT 3), and the values under
indices are not a JSON object (CONTRACT 6.27).
"""

import re
from collections.abc import Mapping
from typing import Any

from service.domain.errors import Refusal, unreadable

MAX_VALUES = 131_072  # of one request: a bulk send may list 100,000 people by id
MAX_NAMES = 4_096  # distinct ones
MAX_DEPTH = 32

_INDEX = re.compile(r"[0-9]{1,9}", re.ASCII)
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


class Repeated(list[Any]):
    """The values of a bare key that came more than once: an array to an array parameter, else its last."""


class Nested(dict[str, Any]):
    """What names with brackets say below a name; with indices alone (``a[0]``), an array to an array parameter.

    An object in JSON is a dict, and never an array.
    """


def array_of(value: Any) -> Any:
    """``name[0]=…&name[1]=…`` as the array that it stands for (CONTRACT 6.27); anything else as it is."""
    if not isinstance(value, Nested) or not value or not all(map(_INDEX.fullmatch, value)):
        return value
    items = [value[index] for index in sorted(value, key=int)]
    return [item[-1] if isinstance(item, Repeated) else item for item in items]


def text_of(scalar: str | float | bool) -> str:
    """A value of JSON as a form would have it."""
    return str(scalar).lower() if isinstance(scalar, bool) else str(scalar)


def _path(name: str) -> list[str]:
    """``a[b][]`` → ["a", "b", ""]. Unbalanced brackets are part of a plain name, which no action has."""
    if "[" not in name:
        return [name]
    if name.count("[") >= MAX_DEPTH:
        raise unreadable(f"Parameters are nested more than {MAX_DEPTH} deep.")
    match = _NAME.fullmatch(name)
    if match is None:
        return [name]
    path = [match[1], *match[2][1:-1].split("][")] if match[2] else [match[1]]
    if "" in path[:-1]:
        raise unreadable("Parameters must not nest inside an array.")
    return path


def _conflict(name: str) -> Refusal:
    return unreadable(f"Parameter {name[:100]} has conflicting types.")


def _child(container: dict[str, Any], step: str, kind: type, name: str) -> Any:
    child = container.setdefault(step, kind())
    if not isinstance(child, kind if kind is list else dict) or isinstance(child, Repeated):
        raise _conflict(name)
    return child


def _insert(root: dict[str, Any], name: str, values: list[Any]) -> None:
    *parents, last = _path(name)
    container = root
    is_array = last == "" and bool(parents)
    for step in parents[:-1] if is_array else parents:
        container = _child(container, step, Nested, name)
    if is_array:
        _child(container, parents[-1], list, name).extend(values)
    elif last in container:
        raise _conflict(name)
    else:
        container[last] = values[0] if len(values) == 1 else Repeated(values)


def too_many_names() -> Refusal:
    """More than MAX_NAMES."""
    return unreadable(f"The request has more than {MAX_NAMES} different parameters.")


def _check_names(named: Mapping[str, Any]) -> None:
    if len(named) > MAX_NAMES:
        raise too_many_names()


def nest(named: Mapping[str, list[Any]]) -> dict[str, Any]:
    """One nested value of {name: its values in the order sent}.

    ``a[]`` gives a list, ``a[b]`` a Nested dict, a bare name its value, or Repeated when there are several.
    Refuses names that contradict each other, too many of them and too deep ones.
    """
    _check_names(named)
    root: dict[str, Any] = {}
    for name, values in named.items():
        _insert(root, name, values)
    return root


def expand(body: dict[str, Any]) -> dict[str, Any]:
    """A JSON object whose own keys may have brackets: ``{"conversation[starred]": true}``."""
    if not any("[" in key for key in body):
        return body
    _check_names(body)
    plain = {key: value for key, value in body.items() if "[" not in key}
    for key, value in body.items():
        if "[" in key:
            _insert(plain, key, value if key.endswith("[]") and isinstance(value, list) else [value])
    return plain
