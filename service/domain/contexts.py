"""Courses, groups, sections and accounts as the API names them: ``course_12``, ``group_3``, …"""

import re
from dataclasses import dataclass
from enum import StrEnum

from service.domain.ids import parse_id

_CODE = re.compile(r"(course|group|section|account)_(\d+)", re.ASCII)


class ContextType(StrEnum):
    """Canvas's names of the kinds of context; the values are stored."""

    COURSE = "Course"
    GROUP = "Group"
    SECTION = "Section"
    ACCOUNT = "Account"


@dataclass(frozen=True, slots=True)
class Context:
    """A place in the institution."""

    type: ContextType
    id: int

    @property
    def code(self) -> str:
        """``course_12``"""
        return f"{self.type.lower()}_{self.id}"

    @property
    def key(self) -> int:
        """The number that stands for it in a private pair's identity; the database's context_key()."""
        return self.id * 4 + (ContextType.COURSE, ContextType.GROUP, ContextType.ACCOUNT).index(self.type) + 1


def parse_code(code: str) -> Context | None:
    """The context a code names, or None when it is not a context code."""
    match = _CODE.fullmatch(code)
    return named_context(match[1], match[2]) if match else None


def named_context(word: str, digits: str) -> Context | None:
    """The context of which a code writes the type and the id; None when the digits are no id."""
    id_ = parse_id(digits)
    return None if id_ is None else Context(ContextType(word.capitalize()), id_)
