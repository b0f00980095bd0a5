"""Ids as strings, for clients whose numbers end at 2^53 (canvas/conventions.md 5)."""

from typing import Any


def _is_id(key: str) -> bool:
    return key == "id" or key.endswith("_id")


def _is_ids(key: str) -> bool:
    return key in {"ids", "audience"} or key.endswith("_ids")


def _text(value: Any) -> Any:
    # bool is an int to Python and never an id
    return str(value) if type(value) is int else with_string_ids(value)


def with_string_ids(body: Any) -> Any:
    """A copy of a JSON value with the ids in it as strings; null stays null."""
    if isinstance(body, dict):
        return {
            key: _text(value)
            if _is_id(key)
            else [_text(item) for item in value]
            if isinstance(value, list | tuple) and _is_ids(key)
            else with_string_ids(value)
            for key, value in body.items()
        }
    if isinstance(body, list | tuple):
        return [with_string_ids(item) for item in body]
    return body
