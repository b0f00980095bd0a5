"""The bucket, against the way Canvas counts: a level that drops with time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.leaky_bucket import LeakyBucket

CANVAS = LeakyBucket(maximum=800, high_water=600, outflow=10, preflight=50)

costs = st.floats(0, 2000)
waits = st.floats(0, 300)
steps = st.lists(st.tuples(waits, st.floats(-200, 2000)), max_size=50)


def close(value: float) -> object:
    return pytest.approx(value, abs=1e-6)


@given(steps)
def test_it_is_canvass_bucket_in_other_units(history: list[tuple[float, float]]) -> None:
    """Leak since the last touch, add, and keep within 0 and the maximum."""
    level, drains_in = 0.0, 0.0
    for wait, cost in history:
        level = min(max(level - wait * CANVAS.outflow, 0.0) + cost, CANVAS.maximum)
        drains_in = CANVAS.poured(drains_in - wait, cost / CANVAS.outflow)
        assert CANVAS.level(drains_in) == close(max(level, 0.0))


@given(steps)
def test_a_level_stays_within_its_bounds(history: list[tuple[float, float]]) -> None:
    drains_in = 0.0
    for wait, cost in history:
        drains_in = CANVAS.poured(drains_in - wait, cost / CANVAS.outflow)
        assert 0 <= CANVAS.level(drains_in) <= CANVAS.maximum
        assert 0 <= CANVAS.remaining(drains_in) <= CANVAS.high_water
        assert CANVAS.is_full(drains_in) == (CANVAS.remaining(drains_in) == 0)


@given(st.lists(st.tuples(waits, st.floats(0, 5)), max_size=200))
def test_one_request_after_the_other_is_never_throttled(requests: list[tuple[float, float]]) -> None:
    """A request costs at most its seconds of CPU and database time, and in these more than that drains."""
    drains_in = 0.0
    for wait, seconds in requests:
        drains_in = CANVAS.poured(drains_in - wait, CANVAS.reserving)
        assert not CANVAS.is_full(drains_in)
        drains_in = CANVAS.poured(drains_in - seconds, CANVAS.settling(seconds))


@given(st.floats(0, 80), costs)
def test_what_was_reserved_comes_back(drains_in: float, cost: float) -> None:
    """Unless the maximum cut it off."""
    reserved = CANVAS.poured(drains_in, CANVAS.reserving)
    settled = CANVAS.poured(reserved, CANVAS.settling(cost))

    if CANVAS.level(drains_in) + CANVAS.preflight + cost <= CANVAS.maximum:
        assert CANVAS.level(settled) == close(CANVAS.level(drains_in) + cost)


def test_the_twelfth_request_at_once_is_too_many() -> None:
    drains_in = 0.0
    admitted = 0
    while not CANVAS.is_full(drains_in := CANVAS.poured(drains_in, CANVAS.reserving)):
        admitted += 1

    assert admitted == 11


def test_who_is_turned_away_may_come_again_once_the_bucket_is_below_the_mark() -> None:
    bucket = LeakyBucket(maximum=800, high_water=600, outflow=10, preflight=50)

    assert bucket.full_for(72) == 12
    assert bucket.full_for(60) == bucket.full_for(3) == bucket.full_for(-5) == 0
