"""Pages of lists without numbers: a page begins behind a bookmark (canvas/conventions.md 4)."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.errors import Code, Refusal
from service.domain.ids import MAX_ID
from service.domain.pagination import DEFAULT_SIZE, MAX_SIZE, leading_integer

FIRST = "first"
_PREFIX = "bookmark:"
_INVALID = "Invalid page; please restart iteration and follow `next` links"


@dataclass(frozen=True, slots=True)
class PlaceMark:
    """Behind a context in the list: its sort key."""

    key: tuple[int, int, str, int]


@dataclass(frozen=True, slots=True)
class PersonMark:
    """Behind a person, and so behind all contexts."""

    sort_name: str
    id: int


@dataclass(frozen=True, slots=True)
class RecipientMark:
    """Behind a recipient of a batch."""

    user_id: int


Bookmark = PlaceMark | PersonMark | RecipientMark


@dataclass(frozen=True, slots=True)
class MarkedPage:
    """One page of a list; ``after`` is null on the first."""

    size: int
    after: Bookmark | None = None

    def links(self, following: Bookmark | None) -> Mapping[str, str]:
        """The page parameter of each rel; ``following`` is where the next page begins, null on the last one."""
        current = FIRST if self.after is None else encode(self.after)
        if following is None:
            return {"current": current, "first": FIRST, "last": current}
        return {"current": current, "next": encode(following), "first": FIRST}


def encode(mark: Bookmark) -> str:
    """The text that stands for a bookmark in URLs; nothing in it needs escaping there."""
    packed = json.dumps(_content(mark), ensure_ascii=False, separators=(",", ":")).encode()
    return _PREFIX + urlsafe_b64encode(packed).rstrip(b"=").decode()


def _content(mark: Bookmark) -> list[Any]:
    match mark:
        case PlaceMark():
            return list(mark.key)
        case PersonMark():
            return [mark.sort_name, mark.id]
        case RecipientMark():
            return [mark.user_id]


def parse_marked_page(page: str | None, per_page: str | None, *marks: type[Bookmark]) -> MarkedPage:
    """The page that was asked for, of a list whose bookmarks are ``marks``.

    per_page is at most 100; 0, less or garbage is the default 10. Refusal(INVALID_PAGE) for a page that no link
    has led to; absent or empty is the first.
    """
    size = leading_integer(per_page or "")
    size = min(size, MAX_SIZE) if size > 0 else DEFAULT_SIZE
    if not page or page == FIRST:
        return MarkedPage(size)
    if not page.startswith(_PREFIX):
        raise _damaged()
    mark = _decode(page.removeprefix(_PREFIX))
    if not isinstance(mark, marks) or encode(mark) != page:  # the decoder overlooks what does not belong there
        raise _damaged()
    return MarkedPage(size, mark)


def _damaged() -> Refusal:
    return Refusal(Code.INVALID_PAGE, _INVALID)


def _decode(text: str) -> Bookmark:
    try:
        content = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except (ValueError, RecursionError):
        raise _damaged() from None
    match content:
        case [str(sort_name), id_] if _text(sort_name) and _integer(id_):
            return PersonMark(sort_name, id_)
        case [state, kind, str(name), id_] if _text(name) and all(map(_integer, (state, kind, id_))):
            return PlaceMark((state, kind, name, id_))
        case [id_] if _integer(id_):
            return RecipientMark(id_)
    raise _damaged()


def _integer(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ID


def _text(value: str) -> bool:
    """Whether a database can compare with it."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
