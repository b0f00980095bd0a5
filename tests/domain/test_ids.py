"""What is an id in text (canvas/conventions.md 7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import MAX_ID, parse_id


@given(st.integers(0, MAX_ID), st.integers(0, 30))
def test_digits_are_an_id_leading_zeros_or_not_unless_they_are_too_many(number: int, zeros: int) -> None:
    text = "0" * zeros + str(number)

    assert parse_id(text) == (number if len(text) <= 19 else None)


@given(st.integers(MAX_ID + 1))
def test_more_than_64_bits_are_no_id(number: int) -> None:
    assert parse_id(str(number)) is None


@given(st.text())
def test_any_text_is_an_id_or_none(text: str) -> None:
    read = parse_id(text)

    assert read is None or text.lstrip("0") == str(read).lstrip("0")


@pytest.mark.parametrize(
    "text", ["", " ", " 1", "1 ", "1\n", "-1", "+1", "1.0", "1_0", "1e3", "٣", "²", "x", "9" * 5000]
)
def test_what_is_no_id(text: str) -> None:
    assert parse_id(text) is None
