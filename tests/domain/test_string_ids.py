"""Ids as strings for clients that ask."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.string_ids import with_string_ids


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": 2**62, "message_count": 3}, {"id": str(2**62), "message_count": 3}),
        ({"author_id": 7, "folder_id": None}, {"author_id": "7", "folder_id": None}),
        (
            {"audience": [1, 2], "participating_user_ids": (3,)},
            {"audience": ["1", "2"], "participating_user_ids": ["3"]},
        ),
        ([{"messages": [{"id": 1, "forwarded_messages": [{"id": 2}]}]}], None),
        ({"common_courses": {"5": ["StudentEnrollment"]}}, {"common_courses": {"5": ["StudentEnrollment"]}}),
        ({"conversation_ids": [1], "ids": [2], "idle": 3}, {"conversation_ids": ["1"], "ids": ["2"], "idle": 3}),
        ({"root_id": True}, {"root_id": True}),
        ({"media_id": "m-1"}, {"media_id": "m-1"}),
    ],
)
def test_ids_become_strings(body: Any, expected: Any) -> None:
    if expected is None:
        expected = [{"messages": [{"id": "1", "forwarded_messages": [{"id": "2"}]}]}]
    assert with_string_ids(body) == expected


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "a_id", "ids", "a_ids", "audience", "b"]), inner, max_size=4)
    ),
)


@given(bodies)
def test_doing_it_twice_changes_nothing(body: Any) -> None:
    once = with_string_ids(body)

    assert with_string_ids(once) == once
