"""Progress of a batch (canvas/semantics.md 11)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.batch import BatchState, Progress, chunk_size, completion, eta, rate

START = datetime(2026, 1, 1, tzinfo=UTC)


def progress(state: BatchState, total: int, delivered: int, failed: int = 0, seconds: float | None = None) -> Progress:
    """A batch created at START, begun a second later."""
    started = START + timedelta(seconds=1) if delivered else None
    finished = START + timedelta(seconds=seconds) if seconds is not None else None
    return Progress(state, total, delivered, failed, 0, START, started, finished)


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


@given(st.integers(1, 10**6), st.data())
def test_the_rest_arrives_when_the_rate_says(total: int, data: st.DataObject) -> None:
    delivered = data.draw(st.integers(1, total))
    now = START + timedelta(seconds=data.draw(st.integers(1, 3600)))
    sending = progress(BatchState.SENDING, total, delivered)
    arrival = eta(sending, now)
    if delivered == total:
        assert arrival is None
        return
    assert arrival is not None
    left = (arrival - now).total_seconds() * rate(sending, now)
    assert abs(left - (total - delivered)) < 1


def test_the_rate_stands_still_once_finished() -> None:
    done = progress(BatchState.SENT, 100, 100, seconds=4)
    assert rate(done, START + timedelta(days=1)) == 25.0
    assert eta(done, START) is None


@given(recipients=st.integers(1, 1_000_000), largest=st.integers(1, 2000))
def test_chunks_are_small_in_small_sends_and_never_above_the_limit(recipients: int, largest: int) -> None:
    size = chunk_size(recipients, largest)
    assert 1 <= size <= largest
    assert size in (largest, 500) or recipients // size == 50
    assert size <= chunk_size(recipients + 1, largest)
