"""What a search for recipients asks for, and how far the viewer sees (canvas/endpoints.md 4.13 and 5)."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from service.domain.contexts import Context, ContextType, named_context
from service.domain.errors import invalid
from service.domain.recipients import INSTRUCTORS, STAFF, Audience
from service.domain.rights import Course, Right, Roles
from service.domain.visibility import Range, Types, ranges

_CONTEXT = re.compile(r"(course|section|group)_(\d+)(?:_([A-Za-z_]+))?", re.ASCII)
_TAG = re.compile(r"differentiation_tag_(\d+)", re.ASCII)
MAX_SEARCH = 255  # characters, as many as a name may have
MAX_TERMS = 10
_LIKE = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


class Kind(StrEnum):
    """What a search may find; ``type`` of the request."""

    USER = "user"
    COURSE = "course"
    SECTION = "section"
    GROUP = "group"


class Parts(StrEnum):
    """Parts of a course that can be browsed; the suffix of its code."""

    SECTIONS = "sections"
    GROUPS = "groups"
    TAGS = "differentiation_tags"


class State(IntEnum):
    """How current a context is; the order in which a search shows them."""

    ACTIVE = 0
    ENDED_LATELY = 1
    INACTIVE = 2


@dataclass(frozen=True, slots=True)
class Place:
    """The ``context`` of a search: a course, section or group, its role word or the parts to browse."""

    context: Context
    suffix: str | None = None

    @property
    def code(self) -> str:
        """``course_1_teachers``"""
        return self.context.code if self.suffix is None else f"{self.context.code}_{self.suffix}"

    @property
    def types(self) -> Types:
        """Enrolment types meant; None for everybody, empty for a word that names no role."""
        return Audience(self.context, self.suffix).types

    @property
    def parts(self) -> Parts | None:
        """The parts of a course to list; then no people are listed."""
        if self.context.type is not ContextType.COURSE:
            return None
        return next((parts for parts in Parts if parts == self.suffix), None)


def parse_place(code: str | None) -> Place | None:
    """The place a ``context`` names, a differentiation tag as its group; None for what is no code at all."""
    if match := _TAG.fullmatch(code or ""):
        context, suffix = named_context("group", match[1]), None
    elif match := _CONTEXT.fullmatch(code or ""):
        context, suffix = named_context(match[1], match[2]), match[3]
    else:
        return None
    return None if context is None else Place(context, suffix)


def parse_kinds(types: Iterable[str]) -> frozenset[Kind]:
    """What to look for: everything unless types are given; ``context`` is every kind of context."""
    given = set(types)
    if not given:
        return frozenset(Kind)
    if "context" in given:
        given |= {Kind.COURSE, Kind.SECTION, Kind.GROUP}
    return frozenset(kind for kind in Kind if kind in given)


def parse_terms(search: str | None) -> list[str] | None:
    """The words of a search, None without one; Refusal for a longer or wordier one than any name needs."""
    if search is None:
        return None
    if len(search) > MAX_SEARCH:
        raise invalid("search", f"more than {MAX_SEARCH} characters")
    terms = search.split()
    if len(terms) > MAX_TERMS:
        raise invalid("search", f"more than {MAX_TERMS} words")
    return terms


def searched(text: str) -> str:
    """A term or a name as the two are compared: in lower case, and in composed form (search_text of the schema)."""
    return unicodedata.normalize("NFC", text.lower())


def pattern(term: str) -> str:
    """The LIKE pattern of names that hold a term."""
    return f"%{searched(term).translate(_LIKE)}%"


def beginning(term: str) -> str:
    """The tsquery of lexemes that begin with a term."""
    quoted = searched(term).replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}':*"


def holds(name: str, terms: Iterable[str]) -> bool:
    """Whether the name of a context holds every term."""
    text = searched(name)
    return all(searched(term) in text for term in terms)


def fold(name: str) -> str:
    """A name as contexts are sorted by: without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))


def hidden(roles: Roles, course: Course) -> bool:
    """Whether a search keeps a course from the viewer: one not offered yet is for its staff and administrators only.

    CONTRACT 6.25. Who may be written to there is another question (CONTRACT 6.3).
    """
    staff = any(enrollment.type in STAFF for enrollment in roles.enrolled(course.id))
    return course.unpublished and not staff and not any(roles.administers(right, course) for right in Right)


def visible_ranges(
    roles: Roles,
    course: Course,
    *,
    types: Types = None,
    section_id: int | None = None,
    as_admin: bool = False,
    individuals: bool = False,
) -> list[Range]:
    """Whom the viewer sees in a course, themselves included.

    ``individuals``: people looked for by name; staff find those whose enrolment is over as well. Others, and who
    browses a context, see of those the instructors only, and only instructors see them as long as the course goes on
    (canvas/endpoints.md 5.1). Recipients in a completed course are refused by the send, not here.
    """
    administers = roles.may(Right.READ_AS_ADMIN, course)
    seen = course if administers or not course.completed else replace(course, workflow_state="available")
    found = ranges(roles, seen, types=types, section_id=section_id, as_admin=as_admin)
    if roles.enrolled(course.id) and types != frozenset() and not roles.may(Right.SEND_MESSAGES, seen):
        found = [*found, Range(course.id, section_id, user_id=roles.user_id, types=types)]
    instructs = administers or any(e.current and e.type in INSTRUCTORS for e in roles.enrolled(course.id))
    if individuals and instructs:
        return [replace(span, concluded=True) for span in found]
    if not course.completed and not instructs:
        return found
    return [*found, *(span for each in found if not each.concluded for span in _concluded_instructors(each))]


def _concluded_instructors(span: Range) -> Sequence[Range]:
    types = INSTRUCTORS if span.types is None else INSTRUCTORS & span.types
    return [replace(span, types=types, concluded=True)] if types else []


def visible_sections(roles: Roles, course: Course, section_ids: Collection[int]) -> list[int]:
    """Sections of the course to offer as contexts; none unless the viewer sees more than one.

    ``section_ids``: all there are. Sections are for those who may write to the course.
    """
    if not roles.may(Right.SEND_MESSAGES, course):
        return []
    if not roles.enrolled(course.id):
        seen = sorted(section_ids)
    else:
        spans = {span.section_id for span in visible_ranges(roles, course)}
        seen = sorted(id_ for id_ in section_ids if None in spans or id_ in spans)
    return seen if len(seen) > 1 else []
