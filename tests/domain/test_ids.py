"""What is an id in text (canvas/conventions.md 7), and global ids as local ones (CONTRACT 6.16)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import SHARD_SIZE, localised, parse_id

local_ids = st.integers(1, SHARD_SIZE - 1)
shards = st.integers(1, 900_000)


@given(st.integers(0, SHARD_SIZE - 1), st.integers(0, 30))
def test_digits_are_an_id_leading_zeros_or_not_unless_they_are_too_many(number: int, zeros: int) -> None:
    text = "0" * zeros + str(number)

    assert parse_id(text) == (number if len(text) <= 19 else None)


@given(st.integers(SHARD_SIZE))
def test_what_is_not_local_is_no_id(number: int) -> None:
    assert parse_id(str(number)) is None


@given(st.text())
def test_any_text_is_an_id_or_none(text: str) -> None:
    read = parse_id(text)

    assert read is None or text.lstrip("0") == str(read).lstrip("0")


@pytest.mark.parametrize(
    "text", ["", " ", " 1", "1 ", "1\n", "-1", "+1", "1.0", "1_0", "1e3", "٣", "²", "x", "9" * 5000, "1~2"]
)
def test_what_is_no_id(text: str) -> None:
    assert parse_id(text) is None


@given(
    shards, local_ids, st.sampled_from(["{}", "course_{}", "section_{}_students", "differentiation_tag_{}", "user_{}"])
)
def test_global_ids_of_this_installation_are_local_ones_wherever_they_stand(shard: int, id_: int, form: str) -> None:
    for written in (str(shard * SHARD_SIZE + id_), f"{shard}~{id_}"):
        assert localised(form.format(written), shard) == form.format(id_)
    assert localised(form.format(id_), shard) == form.format(id_)


@given(shards, shards, local_ids)
def test_those_of_other_installations_are_no_ids(shard: int, other: int, id_: int) -> None:
    for written in (str(other * SHARD_SIZE + id_), f"{other}~{id_}"):
        assert parse_id(localised(written, shard)) == (id_ if shard == other else None)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("10000000000005,course_1~6, 1~7", "5,course_6, 7"),
        ("0010000000000005", "5"),
        ("0000000000000000004200", "0000000000000000004200"),
        ("uuid:10000000000005", "uuid:10000000000005"),
        ("sis_user_id:1~5", "sis_user_id:1~5"),
        ("hex:sis_user_id:10000000000005", "hex:sis_user_id:10000000000005"),
        ("1~2~3", "1~2~3"),
        ("1~", "1~"),
        ("self", "self"),
        ("x10000000000005", "x10000000000005"),
    ],
)
def test_texts_around_them(text: str, local: str) -> None:
    assert localised(text, 1) == local
