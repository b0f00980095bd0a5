"""The three encodings of parameters that Canvas takes (canvas/conventions.md 1), strictly and bounded.

Every function returns the parameters as one nested value (service/domain/brackets.py) or raises
Refusal(BAD_REQUEST). PostgreSQL has no NUL in text, so a NUL is refused here rather than in every field.
"""

import re
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote_plus

import orjson

from service.domain.brackets import MAX_DEPTH, MAX_NAMES, MAX_VALUES, expand, nest, too_many_names
from service.domain.errors import Refusal, unreadable


class Encoding(Enum):
    """How a body is written."""

    FORM = auto()
    MULTIPART = auto()
    JSON = auto()


_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_ATTRIBUTE = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', re.ASCII)


def _too_many() -> Refusal:
    return unreadable(f"The request has more than {MAX_VALUES} parameters.")


def _nul() -> Refusal:
    return unreadable("Parameters must not contain NUL bytes.")


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise unreadable("Parameters must be UTF-8.") from None
    if "\0" in text:
        raise _nul()
    return text


def _unquote(text: str) -> str:
    if "%" not in text:
        return text.replace("+", " ")
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise unreadable("Parameters must be UTF-8.") from None


def read_form(raw: bytes) -> dict[str, Any]:
    """``application/x-www-form-urlencoded``, in a body or behind the question mark of a URL."""
    text = _text(raw)
    if text.count("&") >= MAX_VALUES:
        raise _too_many()
    if "%00" in text:
        raise _nul()
    encoded: dict[str, list[str | None]] = {}
    for item in text.split("&"):
        name, equals, value = item.partition("=")
        if name:
            encoded.setdefault(name, []).append(_unescape(value) if equals else None)
            if len(encoded) > MAX_NAMES:
                raise too_many_names()
    named: dict[str, list[str | None]] = {}
    for name, values in encoded.items():
        named.setdefault(_unescape(name), []).extend(values)
    return nest(named)


def _unescape(text: str) -> str:
    """One name or value of a form."""
    if "%" in text and _BROKEN_ESCAPE.search(text):
        raise unreadable("Parameters have a broken percent escape.")
    return _unquote(text)


def _field_name(head: bytes) -> str | None:
    """The name of a part; None when it has none or is a file."""
    for line in _text(head).split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            found = {m[1].lower(): m[3] if m[2] is None else m[2] for m in _ATTRIBUTE.finditer(value)}
            if "filename" in found or "filename*" in found or "name" not in found:
                return None
            # Clients escape a name's brackets or quotes in either way, or not at all.
            name = _unquote(re.sub(r"\\(.)", r"\1", found["name"]).replace("+", "%2B"))
            if "\0" in name:
                raise _nul()
            return name
    return None


def read_multipart(raw: bytes, content_type: str) -> dict[str, Any]:
    """``multipart/form-data``: its fields; files are left out, the API takes none."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise unreadable("The multipart body has no boundary.")
    mark = b"\r\n--" + (match[1] or match[2]).encode("utf-8", "surrogateescape")
    if raw.count(mark) > MAX_VALUES:
        raise _too_many()
    _preamble, *parts = (b"\r\n" + raw).split(mark)
    if not parts or not any(part.startswith(b"--") for part in parts):
        raise unreadable("The multipart body is incomplete.")
    named: dict[str, list[str]] = {}
    for part in parts:
        if part.startswith(b"--"):
            break
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank:
            raise unreadable("The multipart body is malformed.")
        name = _field_name(head)
        if name:
            named.setdefault(name, []).append(_text(content))
            if len(named) > MAX_NAMES:
                raise too_many_names()
    return nest(named)


def _measure(body: Any) -> None:
    """Refuse a value that is too deep or has too many values in it, level by level."""
    level, count = [body], 0
    for _depth in range(MAX_DEPTH):
        inner = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
        count += len(inner)
        if count > MAX_VALUES:
            raise _too_many()
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    raise unreadable(f"Parameters are nested more than {MAX_DEPTH} deep.")


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)


def _commas(raw: bytes) -> int:
    """Commas outside strings: each stands before a value. Nothing is parsed for it."""
    count = raw.count(b",")
    if count < MAX_VALUES:
        return count
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A value has two strings at most, its name included.
    if plain.count(b'"') > 4 * MAX_VALUES:
        return MAX_VALUES
    return sum(part.count(b",") for part in plain.split(b'"')[::2])


def read_json(raw: bytes) -> dict[str, Any]:
    """``application/json``: an object; its values keep their types."""
    if _commas(raw) >= MAX_VALUES:
        raise _too_many()
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise unreadable("The JSON body is malformed.") from None
    if not isinstance(body, dict):
        raise unreadable("The JSON body must be an object.")
    # Counting brackets and commas costs next to nothing; only a suspicious body is walked.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH or raw.count(b",") >= MAX_VALUES:
        _measure(body)
    if b"\\u0000" in raw and _has_nul(body):
        raise _nul()
    return expand(body)


def read_body(encoding: Encoding, content_type: str, raw: bytes) -> dict[str, Any]:
    """A body in its encoding; ``content_type`` is the header, which has the boundary of a multipart body."""
    match encoding:
        case Encoding.FORM:
            return read_form(raw)
        case Encoding.MULTIPART:
            return read_multipart(raw, content_type)
        case Encoding.JSON:
            return read_json(raw)
