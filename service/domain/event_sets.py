"""Sets of events: what goes to those who take them in bulk (CONTRACT 4)."""

from collections.abc import Iterator
from typing import NamedTuple

from service.contracts.events import MAX_SET_BYTES, MAX_SET_EVENTS, ConversationCreated, MessageCreated
from service.domain.outbox import Encoded

# Sets of these two are gathered side by side. They go in this order, as no message precedes its conversation's opening;
# any other event could then overtake one that belongs before it.
_SIDE_BY_SIDE = (ConversationCreated.name, MessageCreated.name)


class EventSet(NamedTuple):
    """Events of one name, in order; named by the first one, as the same events may be cut otherwise the next time."""

    name: str
    message_id: str
    body: bytes
    size: int  # events


class EventSets:
    """Gathers events into as few sets as may be, such that those of a conversation, and of a batch, stay in order."""

    def __init__(self) -> None:
        self._events: dict[str, list[Encoded]] = {}
        self._bytes: dict[str, int] = {}  # of each set, if it went now

    def add(self, event: Encoded) -> Iterator[EventSet]:
        """Takes one more event, when what has to go before it has been taken from the iterator."""
        full = (
            len(self._events.get(event.name, ())) == MAX_SET_EVENTS
            or self._bytes.get(event.name, 1) + len(event.body) + 1 > MAX_SET_BYTES
        )
        mixed = any(name != event.name for name in self._events) and not {*self._events, event.name} <= {*_SIDE_BY_SIDE}
        if full or mixed:
            yield from self.rest()
        self._events.setdefault(event.name, []).append(event)
        self._bytes[event.name] = self._bytes.get(event.name, 1) + len(event.body) + 1

    def rest(self) -> Iterator[EventSet]:
        """All that waits."""
        for name in sorted(self._events, key=lambda name: name == _SIDE_BY_SIDE[1]):
            events = self._events.pop(name)
            body = b"[%b]" % b",".join(event.body for event in events)
            yield EventSet(name, f"{events[0].message_id}.set", body, len(events))
        self._bytes.clear()
