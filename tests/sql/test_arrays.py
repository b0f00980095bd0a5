"""Arrays as text on their way to the server and back."""

from hypothesis import given
from hypothesis import strategies as st

from sql.arrays import Ids, array_text

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1))


def ids(numbers: list[int]) -> Ids:
    """As the server sends them."""
    return Ids("{" + ",".join(map(str, numbers)) + "}", len(numbers))


@given(NUMBERS, NUMBERS)
def test_ids_are_the_sequence_that_their_text_says(numbers: list[int], others: list[int]) -> None:
    found = ids(numbers)

    assert len(found) == len(numbers)
    assert list(found) == numbers
    assert found[-3:] == numbers[-3:]
    assert (found == others) == (numbers == others)
    assert found == ids(numbers)
    assert hash(found) == hash(ids(numbers))
    assert bool(found) == bool(numbers)


@given(NUMBERS)
def test_they_go_back_as_they_came(numbers: list[int]) -> None:
    assert array_text(ids(numbers)) == array_text(numbers)
