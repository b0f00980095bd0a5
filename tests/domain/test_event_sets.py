"""Events in sets: none is lost or doubled, and those of a conversation, and of a batch, stay in order."""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.events import EVENTS, MAX_SET_BYTES, MAX_SET_EVENTS
from service.domain import event_sets
from service.domain.event_sets import EventSet, EventSets
from service.domain.outbox import Encoded

BATCH_EVENTS = [name for name in EVENTS if name.startswith("batch_")]


@contextmanager
def limits(events: int, size: int) -> Iterator[None]:
    """Sets of so few events and bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_sets, "MAX_SET_EVENTS", events)
        patch.setattr(event_sets, "MAX_SET_BYTES", size)
        yield


def gathered(events: list[Encoded]) -> list[EventSet]:
    sets = EventSets()
    found = [each for event in events for each in sets.add(event)]
    return [*found, *sets.rest()]


def event(name: str, about: int, number: int) -> Encoded:
    return Encoded(name, f"{name}.{number}", orjson.dumps({"about": about, "number": number}), None)


@st.composite
def histories(draw: st.DrawFn) -> list[Encoded]:
    """Conversations are opened, written in and joined, and batches move, in any order; numbered as they come."""
    found: list[Encoded] = []
    opened: list[int] = []
    for number in range(draw(st.integers(0, 40))):
        step = draw(st.sampled_from(["open", "write", "join", "move"]))
        if step == "move":
            found.append(event(draw(st.sampled_from(BATCH_EVENTS)), draw(st.integers(-3, -1)), number))
        elif step == "open" or not opened:
            opened.append(number)
            found.append(event("conversation_created", number, number))
        else:
            about = draw(st.sampled_from(opened))
            if step == "join":
                found.append(event("conversation_forwarded", about, number))
            found.append(event("conversation_message_created", about, number + 1000))
    return found


@given(histories(), st.integers(1, 5), st.integers(60, 200))
def test_nothing_is_lost_and_what_belongs_together_stays_in_order(
    events: list[Encoded], most: int, longest: int
) -> None:
    with limits(most, longest):
        sets = gathered(events)

    read = [(each.name, said["about"], said["number"]) for each in sets for said in orjson.loads(each.body)]
    given_events = [(each.name, *orjson.loads(each.body).values()) for each in events]
    assert sorted(read) == sorted(given_events)
    for about in {about for _, about, _ in given_events}:
        assert [one for one in read if one[1] == about] == [one for one in given_events if one[1] == about]
    for each in sets:
        assert 1 <= each.size == len(orjson.loads(each.body)) <= most
        assert len(each.body) <= longest
        assert each.message_id.removesuffix(".set") in {one.message_id for one in events if one.name == each.name}
    assert len({each.message_id for each in sets}) == len(sets)


def test_a_bulk_send_goes_in_as_few_sets_as_may_be() -> None:
    names = ("conversation_created", "conversation_message_created")
    events = [event(name, number, number) for number in range(2 * MAX_SET_EVENTS) for name in names]

    assert [(each.name, each.size) for each in gathered(events)] == [(name, MAX_SET_EVENTS) for name in names] * 2


def test_long_events_make_shorter_sets() -> None:
    events = [Encoded("batch_failed", f"{n}", b"x" * (MAX_SET_BYTES // 3 - 2), None) for n in range(7)]

    assert [each.size for each in gathered(events)] == [3, 3, 1]
