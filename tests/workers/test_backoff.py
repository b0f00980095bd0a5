"""Pauses between attempts while something is away."""

from itertools import islice, pairwise

from workers.backoff import FIRST_RETRY, LAST_RETRY, pauses


def test_each_pause_is_twice_the_one_before_up_to_a_limit() -> None:
    found = list(islice(pauses(), 12))

    assert found[0] == FIRST_RETRY
    assert all(later == min(2 * earlier, LAST_RETRY) for earlier, later in pairwise(found))
    assert found[-1] == LAST_RETRY
