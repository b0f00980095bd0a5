"""What is wrong with a message, in words for operators and integrators: those of the validating library are not."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

ERROR_LIMIT = 2000  # characters kept of an error

# By the library's name of the fault; the names in braces are of the limits that it gives along.
_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "is no text",
    "string_unicode": "is no text",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "does not have the right form",
    "int_type": "is no whole number",
    "int_parsing": "is no whole number",
    "int_from_float": "is no whole number",
    "int_parsing_size": "is too large a number",
    "finite_number": "is no number",
    "float_type": "is no number",
    "float_parsing": "is no number",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "list_type": "is no list",
    "dict_type": "is no object",
    "model_type": "is no object",
    "model_attributes_type": "is no object",
    "datetime_type": "is no time",
    "datetime_parsing": "is no time",
    "datetime_from_date_parsing": "is no time",
    "datetime_object_invalid": "is no time",
    "timezone_aware": "is a time without a zone",
    "literal_error": "is not {expected}",
    "union_tag_invalid": "{tag:.100} is none of {expected_tags}",
    "union_tag_not_found": "does not say what it is",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "greater_than": "is not more than {gt}",
    "less_than": "is not less than {lt}",
    "json_invalid": "is no JSON",
    "json_type": "is no JSON",
    "extra_forbidden": "is not known",
}


def named(error: BaseException) -> str:
    """The error's kind and what it says, in one line; its kind alone where it says nothing."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def error_text(error: Exception) -> str:
    """The error as a row can keep it: short, and without the NUL that PostgreSQL stores nowhere."""
    return named(error).replace("\0", "")[:ERROR_LIMIT]


def worded(error: ValidationError, within: str = "") -> str:
    """All faults in one line. ``within``: the name of what was validated, which begins the names of its parts."""
    return "; ".join(_fault(each, within) for each in error.errors(include_url=False, include_input=False))


def _fault(fault: ErrorDetails, within: str) -> str:
    name = ".".join([*([within] if within else []), *map(str, fault["loc"])]) or "body"
    limits: dict[str, Any] = fault.get("ctx") or {}
    if fault["type"] in {"value_error", "assertion_error"}:
        return f"{name}: {limits['error']}"
    return f"{name}: {_WORDS.get(fault['type'], 'is not valid').format_map(limits)}"
