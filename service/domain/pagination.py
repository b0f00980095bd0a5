"""Pages of ordinal lists and their Link header (canvas/conventions.md 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from service.domain.errors import Code, Refusal
from service.domain.ids import MAX_ID

DEFAULT_SIZE = 10
MAX_SIZE = 100
HEADER_BUDGET = 3500  # characters

_NOT_KEPT = frozenset({"page", "per_page", "access_token", "api_key"})
_ORDER = ("current", "next", "prev", "first", "last")
_PRIORITY = ("next", "last", "prev", "current", "first")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; number counts from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many items come before it; fits a bigint."""
        return (self.number - 1) * self.size


def leading_integer(text: str) -> int:
    """Ruby's to_i: the digits at the start, 0 without any."""
    text = text.strip()
    digits = text.removeprefix("-").removeprefix("+")
    end = next((i for i, c in enumerate(digits) if c not in "0123456789"), len(digits))
    value = int(digits[: min(end, 19)] or 0)
    return -value if text.startswith("-") else value


def parse_page(page: str | None, per_page: str | None) -> Page:
    """The page that was asked for.

    per_page is clamped to 1..100, garbage counts as 0, absent is 10. A page that is no number, below 1 or
    past every bigint is a Refusal(NOT_FOUND); absent or empty is the first.
    """
    size = DEFAULT_SIZE if per_page is None else min(max(leading_integer(per_page), 1), MAX_SIZE)
    if not page:
        return Page(1, size)
    if not (page.isascii() and page.isdigit() and len(page) <= len(str(MAX_ID))):
        raise Refusal(Code.NOT_FOUND)
    asked = Page(int(page), size)
    if asked.number < 1 or asked.offset + size > MAX_ID:
        raise Refusal(Code.NOT_FOUND)
    return asked


def _numbers(page: Page, total: int | None, more: bool | None) -> dict[str, int]:
    found = {"current": page.number, "first": 1}
    if total is not None:
        found["last"] = max(1, -(-total // page.size))
    if (page.number < found["last"]) if "last" in found else bool(more):
        found["next"] = page.number + 1
    if page.number > 1:
        found["prev"] = page.number - 1
    return found


def link_header(
    url: str,
    query: Sequence[tuple[str, str]],
    page: Page,
    *,
    total: int | None,
    more: bool | None = None,
) -> str:
    """The Link header of a page; without the relations that do not fit the budget, but for ``next`` (CONTRACT 6.17).

    ``total`` counts the items of the whole list; where that is too costly, None, and ``more`` says whether
    another page follows. ``url`` and ``query`` as for link_entries.
    """
    pages = {rel: str(number) for rel, number in _numbers(page, total, more).items()}
    return link_entries(url, query, pages, page.size)


def link_entries(url: str, query: Sequence[tuple[str, str]], pages: Mapping[str, str], size: int) -> str:
    """A Link header with an entry for each rel of ``pages``: its page parameter, which is to need no escaping.

    ``url`` is the absolute address of the route without ``.json``, ``query`` the decoded pairs. Everything in
    a URL that could end an entry, a comma above all, is escaped.
    """
    kept = "".join(f"{quote(name, safe='')}={quote(value, safe='')}&" for name, value in query if name not in _NOT_KEPT)
    entries: dict[str, str] = {}
    left = HEADER_BUDGET + 1  # the first entry has no comma in front
    for rel in _PRIORITY:
        if rel not in pages:
            continue
        entry = f'<{url}?{kept}page={pages[rel]}&per_page={size}>; rel="{rel}"'
        left -= len(entry) + 1
        if left < 0 and rel != "next":
            break
        entries[rel] = entry
    return ",".join(entries[rel] for rel in _ORDER if rel in entries)
