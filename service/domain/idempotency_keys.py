"""Keys under which a request may be repeated, and what makes two requests the same one (CONTRACT 3.2 and 3.6)."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from service.domain.brackets import array_of, text_of
from service.domain.errors import Refusal, invalid

ATTRIBUTE = "idempotency_key"  # by which refusals name it
MAX_LENGTH = 255  # characters

_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
# Who asks, and how a form says its method: no part of what is asked.
_NO_PART = frozenset({"access_token", "as_user_id", "_method"})


def read_key(header: str) -> str:
    """The key in the header: its whole value, or what stands in double quotes, which a backslash before one escapes.

    Refuses what is empty, too long, no text or not quoted to its end.
    """
    key = header
    if header.startswith('"'):
        quoted = _QUOTED.fullmatch(header)
        if quoted is None:
            raise _invalid("invalid")
        key = re.sub(r'\\(["\\])', r"\1", quoted[1])
    if not key:
        raise _invalid("blank")
    if len(key) > MAX_LENGTH:
        raise _invalid("too_long")
    if not _is_text(key):
        raise _invalid("invalid")
    return key


def _invalid(message: str) -> Refusal:
    return invalid(ATTRIBUTE, message)


def _is_text(key: str) -> bool:
    """Whether PostgreSQL has it in a text: neither a NUL nor bytes that were no UTF-8."""
    return "\0" not in key and not any("\ud800" <= character <= "\udfff" for character in key)


def fingerprint(method: str, path: str, parameters: Mapping[str, Any]) -> bytes:
    """Identifies a request: equal for equal parameters, whether they came in a form, in a query or as JSON.

    Of what came, not of what is understood: another release must not take a repeated request for another one.
    """
    asked = {name: _plain(value) for name, value in parameters.items() if name not in _NO_PART}
    return sha256(orjson.dumps([method, path, asked], option=orjson.OPT_SORT_KEYS)).digest()


def _plain(value: Any) -> Any:
    """The value as a form would have it: texts, and arrays without nulls."""
    value = array_of(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value if item is not None]
    return value if value is None else text_of(value)
