from hypothesis import given
from hypothesis import strategies as st

from service.domain.previews import LENGTH, preview


@given(st.text(max_size=LENGTH))
def test_up_to_a_hundred_characters_are_left_alone(body: str) -> None:
    assert preview(body) == body


@given(st.text(min_size=LENGTH + 1, max_size=300))
def test_a_longer_body_becomes_its_first_97_characters_and_three_dots(body: str) -> None:
    assert preview(body) == body[:97] + "..."


@given(st.text(max_size=300))
def test_one_character_more_than_a_preview_decides_it(body: str) -> None:
    assert preview(body[: LENGTH + 1]) == preview(body)


def test_characters_count_and_not_bytes() -> None:
    assert preview("\N{GREEK SMALL LETTER OMEGA}" * 100) == "\N{GREEK SMALL LETTER OMEGA}" * 100
