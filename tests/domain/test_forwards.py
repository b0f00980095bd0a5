"""How much of what messages forward one answer shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import forwards
from service.domain.forwards import MAX_FORWARDED_BYTES, MAX_FORWARDED_DEPTH, Forwards

# Each message forwards some of the older ones, whose numbers are lower.
TREES = st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=20).map(
    lambda drawn: {id_: sorted({c for c in below if c < id_}, reverse=True) for id_, below in enumerate(drawn)}
)


def places(tree: Forwards, shown: list[int]) -> list[tuple[int, int]]:
    """(message, depth) at every place where a forwarded message stands."""
    found = []
    waiting = [(child, 1) for id_ in shown for child in tree.below_shown(id_)]
    while waiting:
        id_, depth = waiting.pop()
        found.append((id_, depth))
        waiting += [(child, depth + 1) for child in tree.below_forwarded(id_)]
    return found


def everything(below: dict[int, list[int]], shown: list[int]) -> list[int]:
    return [found for id_ in shown for child in below.get(id_, []) for found in (child, *everything(below, [child]))]


@given(TREES, st.integers(1, 5_000), st.data())
def test_all_as_long_as_it_fits_else_each_once(below: dict[int, list[int]], size: int, data: st.DataObject) -> None:
    shown = data.draw(st.lists(st.sampled_from(sorted(below)), min_size=1, max_size=4))
    sizes = dict.fromkeys(below, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forwards, "MAX_FORWARDED_BYTES", 20_000)
        tree = Forwards(shown, below, sizes)
        known = tree.forwarded_by(shown)
        found = [id_ for id_, _ in places(tree, shown)]
    complete = everything(below, shown)

    assert len(found) * size <= 20_000
    assert known == set(found)
    if len(complete) * size <= 20_000:
        assert sorted(found) == sorted(complete)
    else:
        assert len(found) == len(set(found)) == min(len(set(complete)), 20_000 // size)


def test_what_stands_nearest_to_the_top_is_shown_first() -> None:
    half = MAX_FORWARDED_BYTES // 2
    below = {9: [8, 7], 8: [6], 7: [6, 5]}

    tree = Forwards([9], below, {8: half, 7: half, 6: 1, 5: 1})

    assert places(tree, [9]) == [(7, 1), (8, 1)]


def test_a_message_shown_twice_has_below_it_twice_what_is_little_and_once_what_is_much() -> None:
    for size, copies in ((MAX_FORWARDED_BYTES // 2, 2), (MAX_FORWARDED_BYTES // 2 + 1, 1)):
        assert len(places(Forwards([2, 2], {2: [1]}, {1: size}), [2, 2])) == copies


@pytest.mark.parametrize("deep", [MAX_FORWARDED_DEPTH, MAX_FORWARDED_DEPTH + 1, 3 * MAX_FORWARDED_DEPTH])
def test_no_deeper_than_a_json_encoder_goes(deep: int) -> None:
    below = {id_: [id_ - 1] for id_ in range(1, deep + 1)}

    found = places(Forwards([deep], below, dict.fromkeys(range(deep), 1)), [deep])

    assert max(depth for _, depth in found) == MAX_FORWARDED_DEPTH


def test_what_is_not_known_is_left_out() -> None:
    assert places(Forwards([3], {3: [2, 1]}, {1: 10}), [3]) == [(1, 1)]


def test_of_what_is_too_much_a_message_that_several_forward_stands_once() -> None:
    half = MAX_FORWARDED_BYTES // 2
    below = {9: [8, 7, 6], 8: [6, 5], 7: [5]}

    tree = Forwards([9], below, {8: half - 1, 7: half - 1, 6: 1, 5: 1})

    assert sorted(places(tree, [9])) == [(5, 2), (6, 1), (7, 1), (8, 1)]
