"""Progress of a batch (canvas/semantics.md 11)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.batch import MOST_PACED_CHUNKS, BatchState, Progress, chunk_size, completion, eta

START = datetime(2026, 1, 1, tzinfo=UTC)


def progress(state: BatchState, total: int, delivered: int, *, rate: float | None = None) -> Progress:
    """A batch created at START, begun a second later."""
    started = START + timedelta(seconds=1) if delivered else None
    return Progress(state, total, delivered, 0, 0, START, started, None, rate=rate)


def test_a_sent_batch_is_complete_as_an_integer() -> None:
    done = completion(progress(BatchState.SENT, 5, 5), START)
    assert done == 1
    assert isinstance(done, int)


def test_waiting_counts_a_little_and_more_with_time() -> None:
    waiting = progress(BatchState.CREATED, 80, 0)
    assert completion(waiting, START) == 0.0
    assert completion(waiting, START + timedelta(minutes=1)) == 0.1
    assert completion(waiting, START + timedelta(minutes=2)) == 0.15000000000000002


def test_sending_starts_where_waiting_would_end() -> None:
    assert completion(progress(BatchState.SENDING, 80, 0), START) == 0.2
    assert completion(progress(BatchState.SENDING, 80, 40), START) == 0.6


@given(st.integers(1, 10**6), st.data(), st.sampled_from([s for s in BatchState if s is not BatchState.SENT]))
def test_completion_stays_within_0_and_1_and_grows(total: int, data: st.DataObject, state: BatchState) -> None:
    fewer = data.draw(st.integers(0, total))
    more = data.draw(st.integers(fewer, total))
    now = START + timedelta(seconds=data.draw(st.integers(0, 10**6)))
    low, high = (completion(progress(state, total, n), now) for n in (fewer, more))
    assert 0 <= low <= high <= 1


@given(st.integers(1, 10**6), st.data(), st.floats(0.1, 1e6))
def test_the_rest_arrives_when_the_rate_says(total: int, data: st.DataObject, rate: float) -> None:
    delivered = data.draw(st.integers(1, total))
    arrival = eta(progress(BatchState.SENDING, total, delivered, rate=rate), START)
    if delivered == total:
        assert arrival is None
        return
    assert arrival is not None
    assert abs((arrival - START).total_seconds() * rate - (total - delivered)) < 1


@pytest.mark.parametrize("state", [state for state in BatchState if state is not BatchState.SENDING])
def test_the_end_of_a_batch_that_is_not_sending_is_unknown(state: BatchState) -> None:
    assert eta(progress(state, 100, 50, rate=10.0), START) is None


@pytest.mark.parametrize("rate", [None, 0.0])
def test_the_end_of_a_batch_that_does_not_move_is_unknown(rate: float | None) -> None:
    assert eta(progress(BatchState.SENDING, 100, 50, rate=rate), START) is None


@given(recipients=st.integers(1, 1_000_000), largest=st.integers(1, 2000))
def test_chunks_are_small_in_small_sends_and_never_above_the_limit(recipients: int, largest: int) -> None:
    size = chunk_size(recipients, largest)
    assert 1 <= size <= largest
    assert size in (largest, 500) or recipients // size == 50
    assert size <= chunk_size(recipients + 1, largest)


@given(recipients=st.integers(1, 1_000_000), largest=st.integers(1, 2000))
def test_a_chunk_that_reuses_threads_takes_no_longer_than_one_of_new_ones(recipients: int, largest: int) -> None:
    assert chunk_size(recipients, largest, reusing=True) == min(chunk_size(recipients, largest), 1000)


@pytest.mark.parametrize(
    ("recipients", "pace", "size"),
    [
        (100_000, 1200, 20),  # a second's worth
        (100_000, 59, 2),  # or it would be cut into too many
        (1_000, 30, 1),
        (100_000, 1_000_000, 2000),  # no more than without a pace
        (1_000_000, 60, 1_000_000 // MOST_PACED_CHUNKS),
    ],
)
def test_with_a_pace_a_chunk_is_a_second_of_it(recipients: int, pace: int, size: int) -> None:
    assert chunk_size(recipients, 2000, pace=pace) == size
