"""Which conversations of a user a list shows: scope, filters, how filters combine (canvas/semantics.md 6)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.domain.errors import invalid
from service.domain.ids import parse_id

_USER = "user_"
_TAG = re.compile(r"^(?:course|group)_\d+\Z", re.ASCII)
_UUID = "uuid:"


class Scope(StrEnum):
    """A list of conversations, with its order."""

    INBOX = "inbox"
    UNREAD = "unread"
    STARRED = "starred"
    ARCHIVED = "archived"
    SENT = "sent"


class FilterMode(StrEnum):
    """Whether any filter has to match, or all of them."""

    OR = "or"
    AND = "and"


def parse_scope(value: str | None) -> Scope:
    """The scope of that name; whatever is unknown is the inbox, never an error."""
    try:
        return Scope(value or "")
    except ValueError:
        return Scope.INBOX


def parse_filter_mode(value: str | None) -> FilterMode:
    """``or`` when nothing was sent; Refusal for anything else than ``and`` and ``or``."""
    if value is None:
        return FilterMode.OR
    try:
        return FilterMode(value)
    except ValueError:
        raise invalid("filter_mode", "invalid") from None


@dataclass(frozen=True, slots=True)
class Filters:
    """Filter values taken apart; a value counts once however often it was sent."""

    user_ids: frozenset[int] = frozenset()
    uuids: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()  # course_N, group_N, as sent
    unmatched: int = 0  # distinct values that no conversation matches: section_N, unknown prefixes, garbage

    def __bool__(self) -> bool:
        return bool(self.user_ids or self.uuids or self.codes or self.unmatched)


NO_FILTERS = Filters()


def parse_filters(values: Sequence[str]) -> Filters:
    """Values as sent, taken literally; blank ones are none."""
    users: set[int] = set()
    uuids: set[str] = set()
    codes: set[str] = set()
    garbage: set[str] = set()
    for value in filter(None, values):
        if value.startswith(_USER) and (user_id := parse_id(value.removeprefix(_USER))) is not None:
            users.add(user_id)
        elif value.startswith(_UUID):
            uuids.add(value.removeprefix(_UUID))
        elif _TAG.match(value):
            codes.add(value)
        else:
            garbage.add(value)
    return Filters(frozenset(users), frozenset(uuids), frozenset(codes), len(garbage))


@dataclass(frozen=True, slots=True)
class Criteria:
    """Filters as the statements take them: a row is listed when at least ``needed`` of them match."""

    user_ids: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()
    needed: int = 0


def criteria(filters: Filters, mode: FilterMode, users_by_uuid: Mapping[str, int]) -> Criteria:
    """``user_N`` and a ``uuid:`` of the same user are one filter; an unknown uuid matches nothing."""
    if not filters:
        return Criteria()
    known = {users_by_uuid[uuid] for uuid in filters.uuids if uuid in users_by_uuid}
    unknown = sum(uuid not in users_by_uuid for uuid in filters.uuids)
    users = tuple(sorted(filters.user_ids | known))
    codes = tuple(sorted(filters.codes))
    all_of_them = len(users) + len(codes) + unknown + filters.unmatched
    return Criteria(users, codes, all_of_them if mode is FilterMode.AND else 1)
