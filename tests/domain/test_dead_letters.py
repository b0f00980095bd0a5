"""What a dead letter says of itself, also with headers of other programs."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from service.domain.dead_letters import dead_letter_headers, read_dead_letter, requeued_headers

FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = FIRST + timedelta(days=1)


def death(original: dict[str, Any], reason: str = "no", now: datetime = FIRST) -> dict[str, Any]:
    return dead_letter_headers(original, reason=reason, source="queue", routing_key="key", now=now)


def test_a_letter_keeps_its_id_and_gets_another_when_it_dies_again() -> None:
    first = read_dead_letter(b"body", death({}), message_id=None)
    assert first == read_dead_letter(b"body", death({}) | {"x-delivery-count": 7}, message_id=None)
    again = death(requeued_headers(first, death({})), "still no", LATER)

    second = read_dead_letter(b"body", again, message_id=None)

    assert (second.attempts, second.first_time, second.last_time) == (2, FIRST, LATER)
    assert (second.reason, second.source, second.routing_key) == ("still no", "queue", "key")
    assert second.id != first.id


def test_what_the_broker_added_does_not_travel_on() -> None:
    theirs = {"x-death": [{"queue": "q"}], "x-first-death-queue": "q", "x-delivery-count": 3, "CC": ["a"], "tenant": 1}
    assert death(theirs).keys() == {
        "tenant", "reason", "source", "routing_key", "first_time", "last_time", "attempts"
    }  # fmt: skip
    back = requeued_headers(read_dead_letter(b"", theirs, message_id=None), theirs)
    assert back.keys() == {"tenant", "attempts"}


def test_the_brokers_word_counts_where_it_put_the_letter_away() -> None:
    entry = {"queue": "q", "reason": "rejected", "time": LATER, "count": 2, "exchange": "e", "routing-keys": ["a.b"]}
    requeued = {"first_time": FIRST.isoformat(), "attempts": 3, "reason": "written by another program"}

    letter = read_dead_letter(b"", requeued | {"x-death": [entry]}, message_id=None)

    assert (letter.source, letter.routing_key, letter.attempts) == ("q", "a.b", 5)
    assert (letter.first_time, letter.last_time) == (FIRST, LATER)
    assert letter.reason == "given up; its reason could not be published (broker: rejected)"


@pytest.mark.parametrize(
    "nonsense",
    [
        {"reason": b"\xff", "source": 7, "first_time": "yesterday", "last_time": None, "attempts": "many"},
        {"attempts": -5, "first_time": 12},
        {"attempts": 2**63},
        {"x-death": []},
        {"x-death": "dead"},
        {"x-death": [{}]},
        {"x-death": [{"time": "noon", "count": "x", "routing-keys": [], "queue": None}]},
        {},
    ],
    ids=str,
)
def test_headers_of_other_programs_are_read_as_far_as_they_go(nonsense: dict[str, Any]) -> None:
    letter = read_dead_letter(b"", nonsense, message_id=None)
    assert letter.attempts == 1
    assert letter.reason
    assert letter.last_time is None
    assert death(nonsense)["attempts"] == 1
    assert death(nonsense)["first_time"] == FIRST.isoformat()


@pytest.mark.parametrize("written", ["2026-01-01T12:00:00", FIRST, FIRST.astimezone(timezone(timedelta(hours=5)))])
def test_times_are_moments(written: object) -> None:
    letter = read_dead_letter(b"", {"first_time": written}, message_id=None)
    assert letter.first_time == FIRST
