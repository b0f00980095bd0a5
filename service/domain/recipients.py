"""Recipients as a request names them (canvas/endpoints.md 4.2 resolution steps 1 and 3).

Reading is pure and never refuses: what names no user is dropped.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.domain.contexts import Context, ContextType, named_context
from service.domain.ids import parse_id

STUDENT = "StudentEnrollment"
TEACHER = "TeacherEnrollment"
TA = "TaEnrollment"
DESIGNER = "DesignerEnrollment"
OBSERVER = "ObserverEnrollment"
STUDENT_VIEW = "StudentViewEnrollment"

INSTRUCTORS = frozenset({TEACHER, TA})
STAFF = frozenset({TEACHER, TA, DESIGNER})

# Role word of a context code -> enrolment types. The words are plurals, a singular means the same.
_ROLES: dict[str, frozenset[str]] = {
    **{word: frozenset({STUDENT}) for word in ("students", "student")},
    **{word: frozenset({TEACHER}) for word in ("teachers", "teacher")},
    **{word: frozenset({TA}) for word in ("tas", "ta")},
    **{word: frozenset({DESIGNER}) for word in ("designers", "designer")},
    **{word: frozenset({OBSERVER}) for word in ("observers", "observer")},
    "admins": INSTRUCTORS,
}
_NOBODY: frozenset[str] = frozenset()

_UUID = re.compile(r"uuid:([!-~]{1,255})")
_CONTEXT = re.compile(r"(course|section|group)_(\d+)(?:_([A-Za-z]+))?", re.ASCII)
_DIFFERENTIATION_TAG = re.compile(r"differentiation_tag_(\d+)", re.ASCII)
_TAG = re.compile(r"(course|section|group)_(\d+)(?:_.*)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Audience:
    """A context given as a recipient, perhaps narrowed to a role."""

    context: Context
    role: str | None = None  # the word as sent; ``all`` and no word mean everybody
    differentiation_tag: bool = False  # sent as differentiation_tag_N

    @property
    def types(self) -> frozenset[str] | None:
        """Enrolment types meant; None for everybody, empty for a word that names no role."""
        return None if self.role in (None, "all") else _ROLES.get(self.role or "", _NOBODY)

    @property
    def code(self) -> str:
        """The text that reads back as this audience."""
        if self.differentiation_tag:
            return f"differentiation_tag_{self.context.id}"
        return self.context.code if self.role is None else f"{self.context.code}_{self.role}"


@dataclass(frozen=True, slots=True)
class Uuid:
    """A user named as ``uuid:X``."""

    value: str


@dataclass(frozen=True, slots=True)
class Recipients:
    """What a list of recipients names; order and repetition carry no meaning."""

    user_ids: frozenset[int] = frozenset()
    uuids: frozenset[str] = frozenset()
    audiences: frozenset[Audience] = frozenset()

    def ids(self, type_: ContextType) -> list[int]:
        """Ids of the contexts of one type, ascending."""
        return sorted({a.context.id for a in self.audiences if a.context.type is type_})

    @property
    def only_course(self) -> int | None:
        """The course whose members are named, whatever their role, if nothing else is named."""
        courses = {a.context.id if a.context.type is ContextType.COURSE else None for a in self.audiences}
        return courses.pop() if len(courses) == 1 and not (self.user_ids or self.uuids) else None

    def codes(self) -> list[str]:
        """A list that parses back to this value."""
        return [
            *map(str, sorted(self.user_ids)),
            *(f"uuid:{uuid}" for uuid in sorted(self.uuids)),
            *sorted(audience.code for audience in self.audiences),
        ]


def as_text(items: Iterable[Any]) -> list[str]:
    """The items of a request's ``recipients`` as ``parse`` takes them; JSON numbers are ids like their digits."""
    return [str(item) for item in items if isinstance(item, str | int) and not isinstance(item, bool)]


def parse(recipients: Iterable[str]) -> Recipients:
    """What the given strings name; each may be a comma-separated list.

    Anything that is not a user id of at most 64 bits, a ``uuid:``, a course, section or group code with or
    without a role, or a differentiation tag is dropped.
    """
    user_ids: set[int] = set()
    uuids: set[str] = set()
    audiences: set[Audience] = set()
    for item in (part for text in recipients for part in text.split(",")):
        match parse_one(item):
            case int(user_id):
                user_ids.add(user_id)
            case Uuid(value):
                uuids.add(value)
            case Audience() as audience:
                audiences.add(audience)
    return Recipients(frozenset(user_ids), frozenset(uuids), frozenset(audiences))


def parse_one(item: str) -> int | Uuid | Audience | None:
    """The id, uuid or context that a text without commas names; None where ``parse`` drops it."""
    if (user_id := parse_id(item)) is not None:
        return user_id
    if match := _UUID.fullmatch(item):
        return Uuid(match[1])
    return _audience(item)


def _audience(item: str) -> Audience | None:
    if match := _DIFFERENTIATION_TAG.fullmatch(item):
        tag = named_context("group", match[1])
        return None if tag is None else Audience(tag, differentiation_tag=True)
    if match := _CONTEXT.fullmatch(item):
        context = named_context(match[1], match[2])
        return None if context is None else Audience(context, match[3])
    return None


def sent_context(code: str | None) -> Context | None:
    """The course, section or group that a ``context_code`` names, its role word ignored (step 2)."""
    match = _CONTEXT.fullmatch(code or "")
    return named_context(match[1], match[2]) if match else None


def tagged_context(item: str) -> Context | None:
    """The course, section or group a request tag stands for (canvas/semantics.md 4.1), else None."""
    match = _TAG.fullmatch(item)
    return named_context(match[1], match[2]) if match else None
