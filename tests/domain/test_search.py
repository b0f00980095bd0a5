"""What a search asks for, as parameters say it (canvas/endpoints.md 4.13)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.contexts import Context, ContextType
from service.domain.errors import Code, Refusal
from service.domain.recipients import INSTRUCTORS, TEACHER
from service.domain.rights import Course, Enrollment, Roles
from service.domain.search import (
    Kind,
    Parts,
    Place,
    fold,
    holds,
    parse_kinds,
    parse_place,
    parse_terms,
    pattern,
    visible_sections,
)

COURSE = Context(ContextType.COURSE, 1)


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("course_1", Place(COURSE)),
        ("section_2_students", Place(Context(ContextType.SECTION, 2), "students")),
        ("group_3", Place(Context(ContextType.GROUP, 3))),
        ("differentiation_tag_3", Place(Context(ContextType.GROUP, 3))),
        ("course_1_differentiation_tags", Place(COURSE, "differentiation_tags")),
        *((code, None) for code in (None, "", "course", "course_", "course_x", "course_1_", "account_1", "course_1 ")),
        (f"course_{2**63}", None),
    ],
)
def test_places(code: str | None, place: Place | None) -> None:
    assert parse_place(code) == place


def test_suffixes_are_roles_or_parts_of_a_course() -> None:
    assert Place(COURSE).types is Place(COURSE, "all").types is None
    assert Place(COURSE, "teachers").types == frozenset({TEACHER})
    assert Place(COURSE, "admins").types == INSTRUCTORS
    assert not Place(COURSE, "wizards").types
    assert Place(COURSE, "wizards").types is not None
    assert Place(COURSE, "sections").parts is Parts.SECTIONS
    assert Place(COURSE, "teachers").parts is Place(Context(ContextType.SECTION, 1), "sections").parts is None


def test_kinds() -> None:
    contexts = {Kind.COURSE, Kind.SECTION, Kind.GROUP}

    assert parse_kinds([]) == contexts | {Kind.USER}
    assert parse_kinds(["context"]) == contexts
    assert parse_kinds(["user", "course", "spoon"]) == {Kind.USER, Kind.COURSE}
    assert parse_kinds(["spoon"]) == frozenset()


@given(st.text(st.sampled_from("%_\\aB"), max_size=6), st.text(st.sampled_from("%_\\aB"), max_size=12))
def test_a_pattern_takes_every_character_as_itself(term: str, name: str) -> None:
    matcher = re.sub(r"\\(.)|%", lambda m: re.escape(m[1]) if m[1] else ".*", pattern(term))

    assert bool(re.fullmatch(matcher, name.lower(), re.DOTALL)) == (term.lower() in name.lower()) == holds(name, [term])


def test_a_name_holds_a_letter_composed_or_decomposed() -> None:
    assert holds("Zoe\u0308", ["o\u00eb"])
    assert holds("Zo\u00eb", ["OE\u0308"])
    assert pattern("E\u0308") == pattern("\u00eb")


def test_a_search_is_no_longer_than_a_name_needs() -> None:
    assert parse_terms(None) is None
    assert parse_terms("  ") == []
    assert parse_terms("a b " * 5) == ["a", "b"] * 5
    for search in ("a " * 11, "a" * 256, " " * 256):
        with pytest.raises(Refusal) as refused:
            parse_terms(search)
        assert (refused.value.code, refused.value.attribute) == (Code.INVALID_ATTRIBUTE, "search")


def test_contexts_are_sorted_without_case_and_accents() -> None:
    assert sorted(["Zoo", "Äpfel", "apricot", "Apes"], key=fold) == ["Apes", "Äpfel", "apricot", "Zoo"]


def test_who_may_not_write_to_a_course_is_offered_no_section() -> None:
    course = Course(1, "One", "available")
    student = Roles(1, [Enrollment(1, 5, "StudentEnrollment", "active")])
    observer = Roles(2, [Enrollment(1, 5, "ObserverEnrollment", "active")])

    assert visible_sections(student, course, [5, 6]) == [5, 6]
    assert visible_sections(student, course, [5]) == []
    assert visible_sections(observer, course, [5, 6]) == []
