"""Sets of events: what goes to those who take them in bulk (CONTRACT 4)."""

from collections.abc import Sequence
from typing import NamedTuple

from service.contracts.events import MAX_SET_BYTES, MAX_SET_EVENTS, ConversationCreated, MessageCreated
from service.domain.outbox import Encoded

# Sets of these two are gathered side by side. They go in this order, as no message precedes its conversation's opening;
# any other event could then overtake one that belongs before it.
_SIDE_BY_SIDE = {ConversationCreated.name: 0, MessageCreated.name: 1}


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

    def add(self, event: Encoded) -> Sequence[EventSet]:
        """Takes one more event; the sets that go before it, in their order."""
        name, size = event.name, len(event.body) + 1
        events = self._events.get(name)
        if events is None:
            # Whatever waits goes before an event that may not stand beside it.
            first = [] if not self._events or {*self._events, name} <= _SIDE_BY_SIDE.keys() else self.rest()
        elif len(events) == MAX_SET_EVENTS or self._bytes[name] + size > MAX_SET_BYTES:
            first = self.rest()
        else:
            events.append(event)
            self._bytes[name] += size
            return ()
        self._events[name] = [event]
        self._bytes[name] = 1 + size
        return first

    def rest(self) -> list[EventSet]:
        """All that waits, which waits no more."""
        names = sorted(self._events, key=lambda name: _SIDE_BY_SIDE.get(name, 0))
        found = [_set_of(name, self._events[name]) for name in names]
        self._events.clear()
        self._bytes.clear()
        return found


def _set_of(name: str, events: Sequence[Encoded]) -> EventSet:
    return EventSet(name, f"{events[0].message_id}.set", b"[%b]" % b",".join(each.body for each in events), len(events))
