"""Examples of the OpenAPI document: requests, with what the service answers.

``examples.json`` is recorded from the running service by tests/api/test_examples.py, which compares it as well.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import orjson

FILE = "examples.json"


class Example(NamedTuple):
    """One request and its answer. ``path_id``: what stands for ``{id}``."""

    summary: str
    path_id: int | None
    parameters: Mapping[str, Any]
    status: int
    answer: Any

    def flat(self) -> dict[str, Any]:
        """The parameters under their names in a query or form: ``recipients[]``, ``conversation[starred]``."""
        found: dict[str, Any] = {}
        for name, value in self.parameters.items():
            if isinstance(value, list):
                found[f"{name}[]"] = value
            elif isinstance(value, dict):
                found |= {f"{name}[{inner}]": each for inner, each in value.items()}
            else:
                found[name] = value
        return found


@cache
def recorded() -> Mapping[str, Sequence[Example]]:
    """By operation id, the one to try first first."""
    read = orjson.loads((files(__package__) / FILE).read_bytes())
    return {operation: [Example(**each) for each in examples] for operation, examples in read.items()}


def named(examples: Sequence[Example], value: Any) -> dict[str, Any]:
    """The ``examples`` object of a media type; ``value`` makes what is shown of one."""
    return {each.summary: {"summary": each.summary, "value": value(each)} for each in examples}
