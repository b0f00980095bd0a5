import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import Code, Refusal
from service.domain.ids import MAX_ID
from service.domain.scopes import (
    NO_FILTERS,
    Criteria,
    FilterMode,
    Filters,
    Scope,
    criteria,
    parse_filter_mode,
    parse_filters,
    parse_scope,
)

ids = st.integers(0, MAX_ID)
values = st.one_of(
    ids.map("user_{}".format),
    ids.map("course_{}".format),
    ids.map("group_{}".format),
    ids.map("section_{}".format),
    st.sampled_from(["uuid:a", "uuid:b", "uuid:", "user_x", "wat", " course_1"]),
    st.text(min_size=1, max_size=12),
)


@pytest.mark.parametrize("name", ["inbox", "unread", "starred", "archived", "sent"])
def test_scopes_have_their_names(name: str) -> None:
    assert parse_scope(name) == name


@given(st.one_of(st.none(), st.text(max_size=8)))
def test_an_unknown_scope_is_the_inbox(name: str | None) -> None:
    assert parse_scope(name) in (Scope.INBOX, name)


def test_filter_modes_are_and_and_or_and_nothing_else() -> None:
    assert parse_filter_mode(None) is FilterMode.OR
    assert parse_filter_mode("or") is FilterMode.OR
    assert parse_filter_mode("and") is FilterMode.AND
    for wrong in ("", "AND", "xor"):
        with pytest.raises(Refusal) as refused:
            parse_filter_mode(wrong)
        assert refused.value.code is Code.INVALID_ATTRIBUTE
        assert (refused.value.attribute, refused.value.message) == ("filter_mode", "invalid")


def test_filters_are_distinguished() -> None:
    assert parse_filters(["user_7", "course_1", "group_2", "uuid:x", "section_3", "wat"]) == Filters(
        frozenset({7}), frozenset({"x"}), frozenset({"course_1", "group_2"}), 2
    )


def test_blank_values_are_no_filter() -> None:
    assert not parse_filters([])
    assert not parse_filters(["", ""])


def test_values_are_taken_literally() -> None:
    assert parse_filters([" course_1", "course_1\n", "COURSE_1"]) == Filters(unmatched=3)


def test_a_user_id_beyond_64_bits_matches_no_one() -> None:
    assert parse_filters([f"user_{MAX_ID + 1}", "user_" + "9" * 30]) == Filters(unmatched=2)


@given(st.lists(values))
def test_every_distinct_value_counts_once(sent: list[str]) -> None:
    once = parse_filters(sent)

    assert parse_filters(sent + sent) == once
    assert parse_filters(sent[::-1]) == once


@given(st.lists(values, min_size=1), st.sampled_from(FilterMode))
def test_any_filter_needs_a_match_and_none_needs_none(sent: list[str], mode: FilterMode) -> None:
    wanted = criteria(parse_filters(sent), mode, {"a": 5})

    assert wanted.needed >= 1
    assert mode is FilterMode.AND or wanted.needed == 1
    assert criteria(NO_FILTERS, mode, {}) == Criteria()


@given(st.lists(values, min_size=1))
def test_all_filters_can_match_unless_one_matches_nothing(sent: list[str]) -> None:
    filters = parse_filters(sent)
    wanted = criteria(filters, FilterMode.AND, {"a": 5, "b": 6, "": 7})

    reachable = len(wanted.user_ids) + len(wanted.codes)
    matchable = filters.unmatched == 0 and filters.uuids <= {"a", "b", ""}
    assert (reachable == wanted.needed) is matchable


def test_a_uuid_and_the_id_of_the_same_user_are_one_filter() -> None:
    wanted = criteria(parse_filters(["user_5", "uuid:a"]), FilterMode.AND, {"a": 5})

    assert wanted == Criteria((5,), (), 1)


def test_a_uuid_that_no_user_has_is_a_filter_that_nothing_matches() -> None:
    """So with all of them nothing is listed, and with any of them what the others match."""
    filters = parse_filters(["user_5", "uuid:unknown"])

    assert criteria(filters, FilterMode.AND, {}) == Criteria((5,), (), 2)
    assert criteria(filters, FilterMode.OR, {}) == Criteria((5,), (), 1)
