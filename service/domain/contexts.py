"""Courses, groups, sections and accounts as the API names them: ``course_12``, ``group_3``, …"""

import re
from dataclasses import dataclass
from enum import StrEnum

# Ids are 64-bit; 19 digits can still be more than that, which is then nobody's id.
MAX_ID = 2**63 - 1
_CODE = re.compile(r"(course|group|section|account)_(\d{1,19})", re.ASCII)


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
    if match is None or int(match[2]) > MAX_ID:
        return None
    return Context(ContextType(match[1].capitalize()), int(match[2]))
