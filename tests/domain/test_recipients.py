"""Reading of recipients (canvas/endpoints.md 4.2 resolution steps 1 and 3) and of request tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.contexts import Context, ContextType
from service.domain.ids import MAX_ID
from service.domain.recipients import (
    DESIGNER,
    OBSERVER,
    STUDENT,
    TA,
    TEACHER,
    Audience,
    Recipients,
    parse,
    sent_context,
    tagged_context,
)

ids = st.integers(0, MAX_ID)
codes = st.builds(
    lambda kind, number, role: f"{kind}_{number}{role}",
    st.sampled_from(["course", "group", "section", "differentiation_tag", "account"]),
    ids,
    st.sampled_from(["", "_students", "_all", "_wombats", "_1", "_"]),
)
items = st.one_of(st.text(), ids.map(str), codes, st.from_regex(r"uuid:[a-z0-9-]{0,40}", fullmatch=True), st.just(","))


@given(st.lists(items))
def test_reading_never_fails_and_what_was_read_reads_back_the_same(recipients: list[str]) -> None:
    read = parse(recipients)

    assert parse(read.codes()) == read


@given(st.lists(items).flatmap(lambda x: st.tuples(st.just(x), st.permutations([*x, *x]))))
def test_order_and_repetition_carry_no_meaning(lists: tuple[list[str], list[str]]) -> None:
    once, shuffled_twice = lists

    assert parse(once) == parse(shuffled_twice)


@given(st.lists(items))
def test_a_comma_separated_string_is_the_list_of_its_parts(recipients: list[str]) -> None:
    assert parse([",".join(recipients)]) == parse(recipients)


@given(st.lists(items))
def test_ids_read_fit_64_bits(recipients: list[str]) -> None:
    read = parse(recipients)

    assert all(0 <= id_ <= MAX_ID for id_ in read.user_ids)
    assert all(0 <= audience.context.id <= MAX_ID for audience in read.audiences)


def test_each_form_is_recognised() -> None:
    read = parse(["7,uuid:a-b", "course_1", "course_2_tas", "section_3", "group_4", "differentiation_tag_5"])

    assert read == Recipients(
        frozenset({7}),
        frozenset({"a-b"}),
        frozenset(
            {
                Audience(Context(ContextType.COURSE, 1)),
                Audience(Context(ContextType.COURSE, 2), "tas"),
                Audience(Context(ContextType.SECTION, 3)),
                Audience(Context(ContextType.GROUP, 4)),
                Audience(Context(ContextType.GROUP, 5), differentiation_tag=True),
            }
        ),
    )
    assert read.ids(ContextType.GROUP) == [4, 5]


@pytest.mark.parametrize(
    "item",
    [
        *("", " ", " 1", "1 ", "1\n", "-1", "1.0", "٣", str(MAX_ID + 1), "9" * 40, "1~23", "\ud800"),
        *("uuid:", "uuid:\0", "user_1", "account_1", "sis_user_id:1"),
        *("course_", "course_x", "Course_1", "course_1_", "course_1_a_b", "course_1\n", f"group_{MAX_ID + 1}"),
        *("differentiation_tag_1_students", "differentiation_tag_"),
    ],
)
def test_anything_else_is_dropped(item: str) -> None:
    assert parse([item]) == Recipients()


@pytest.mark.parametrize(
    ("role", "types"),
    [
        ("students", {STUDENT}),
        ("teachers", {TEACHER}),
        ("tas", {TA}),
        ("observers", {OBSERVER}),
        ("designers", {DESIGNER}),
        ("student", {STUDENT}),
        ("admins", {TEACHER, TA}),
        ("wombats", set()),
        ("Students", set()),
    ],
)
def test_a_role_word_stands_for_enrolment_types(role: str, types: set[str]) -> None:
    (audience,) = parse([f"course_1_{role}"]).audiences

    assert audience.types == frozenset(types)


@pytest.mark.parametrize("code", ["course_1", "course_1_all"])
def test_no_word_and_all_mean_everybody(code: str) -> None:
    (audience,) = parse([code]).audiences

    assert audience.types is None


@pytest.mark.parametrize(
    ("code", "context"),
    [
        ("course_1", Context(ContextType.COURSE, 1)),
        ("section_2_students", Context(ContextType.SECTION, 2)),
        ("group_3", Context(ContextType.GROUP, 3)),
        ("account_4", None),
        ("user_5", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_only_courses_sections_and_groups_narrow_individuals(code: str | None, context: Context | None) -> None:
    assert sent_context(code) == context


@pytest.mark.parametrize(
    ("item", "context"),
    [
        ("course_1_students", Context(ContextType.COURSE, 1)),
        ("group_2_x_9", Context(ContextType.GROUP, 2)),
        ("section_3", Context(ContextType.SECTION, 3)),
        ("user_1", None),
        ("12", None),
        ("course_1x", None),
        ("differentiation_tag_1", None),
    ],
)
def test_request_tags_lose_their_role(item: str, context: Context | None) -> None:
    assert tagged_context(item) == context


@pytest.mark.parametrize(
    ("named", "course"),
    [
        (["course_5"], 5),
        (["course_5_students", "course_5_tas"], 5),
        (["course_5", "course_6"], None),
        (["course_5", "section_5"], None),
        (["group_5"], None),
        (["course_5", "7"], None),
        (["course_5", "uuid:abc"], None),
        ([], None),
    ],
)
def test_members_of_one_course_are_recognised(named: list[str], course: int | None) -> None:
    assert parse(named).only_course == course
