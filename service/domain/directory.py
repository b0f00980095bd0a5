"""From directory events to changes of rows, and which of several changes count (CONTRACT 5).

Events come late, twice and out of order, and not every event has every key: Canvas leaves out what only
other feeds know (pronouns, an avatar, course dates), and a compacting producer leaves out nulls. So the rule
is one of keys, not of events: for each key of a row the newest value wins, and a key that no event had
keeps its default. Whatever the order of arrival, the directory ends the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from service.contracts.directory import BODIES, DirectoryEvent
from service.contracts.directory_bodies import Body
from service.domain.directory_shapes import SHAPES, Kind, Shape

# Many of Canvas's times have whole seconds, and a row is often created and changed within one. A change
# therefore counts this much later than a creation with the same time, whichever arrives first.
_AFTER_CREATION = timedelta(microseconds=1)
# Of changes with one time the one emitted later counts later, as far as it can without passing the next millisecond,
# which is as fine as Canvas's times are: by a microsecond for each of these, for a second at most.
_EMISSION_STEP = timedelta(milliseconds=2)
_EMISSION_STEPS = 500


class Change(NamedTuple):
    """What one event says about one row: values in the order of Shape.keys, None where null or absent.

    present_keys has bit i set where the event has the i-th key; None means all. as_of is the rank in time (UTC).
    """

    kind: Kind
    row: tuple[int, ...]
    as_of: datetime
    present_keys: int | None
    values: tuple[Any, ...]


class _Reader:
    """Reads the changes of one kind of row out of bodies; made once per event name, because it is hot."""

    def __init__(self, shape: Shape) -> None:
        self.kind = shape.kind
        self.row = _values_of(shape.identity)
        self.values = _values_of(shape.keys)
        self.bits = [(key, 1 << position) for position, key in enumerate(shape.keys)]
        self.all = (1 << len(shape.keys)) - 1
        self.steady = (1 << len(shape.steady)) - 1
        self.compactable = ((1 << len(shape.compactable)) - 1) << len(shape.steady)

    def present(self, keys: set[str]) -> int | None:
        """The bits of the keys an event has; a dropped null counts as present where the event is whole."""
        present = 0
        for key, bit in self.bits:
            if key in keys:
                present |= bit
        if present & self.steady == self.steady:
            present |= self.compactable
        return None if present == self.all else present


def _values_of(keys: tuple[str, ...]) -> Callable[[Body], tuple[Any, ...]]:
    if len(keys) > 1:
        return attrgetter(*keys)
    return lambda body: tuple(getattr(body, key) for key in keys)


_KINDS = {
    "user": Kind.USER,
    "user_account_association": Kind.USER_ACCOUNT,
    "account": Kind.ACCOUNT,
    "account_user": Kind.ACCOUNT_USER,
    "role_override": Kind.ROLE_OVERRIDE,
    "course": Kind.COURSE,
    "course_section": Kind.SECTION,
    "enrollment": Kind.ENROLLMENT,
    "enrollment_state": Kind.ENROLLMENT_STATE,
    "group_category": Kind.GROUP_CATEGORY,
    "group": Kind.GROUP,
    "group_membership": Kind.GROUP_MEMBERSHIP,
    "attachment": Kind.ATTACHMENT,
}
_EVERYTHING = {kind: (1 << len(shape.keys)) - 1 for kind, shape in SHAPES.items()}
_READERS = {name: _Reader(SHAPES[_KINDS[name.rpartition("_")[0]]]) for name in BODIES}


def change_of(event: DirectoryEvent) -> Change:
    """The change of one row that an event asks for."""
    reader = _READERS[event.name]
    body = _with_implied_keys(event)
    present_keys = reader.present(body.model_fields_set)
    return Change(reader.kind, reader.row(body), _rank(event), present_keys, reader.values(body))


def _rank(event: DirectoryEvent) -> datetime:
    """The event's place in time among those about its row."""
    if event.name.endswith("_created"):
        return event.time
    rank = event.time + _AFTER_CREATION
    if event.emitted is None or event.emitted <= event.time or event.time.microsecond % 1000:
        return rank
    return rank + timedelta(microseconds=min((event.emitted - event.time) // _EMISSION_STEP, _EMISSION_STEPS))


def _with_implied_keys(event: DirectoryEvent) -> Body:
    """The body, with what the event's name alone says (canvas/events.md 3.6, canvas/semantics.md 2.6)."""
    match event.name:
        case "user_merged" | "attachment_deleted":
            return event.body.model_copy(update={"workflow_state": "deleted"})
        case "attachment_created":
            given = event.body.model_dump(include={"created_at", "workflow_state"}, exclude_none=True)
            implied = {"created_at": event.time, "workflow_state": "available"}
            return event.body.model_copy(update=implied | given)
    return event.body


def rounds(changes: Iterable[Change]) -> list[list[Change]]:
    """Changes of one kind, in order of arrival, as lists that hold a row at most once, sorted by row.

    Written one list after the other they leave what all changes would have left. A change whose keys newer
    ones all have is dropped, so there are never more lists than a row has keys, and nearly always one.
    """
    arrived = list(changes)
    by_row: dict[tuple[int, ...], list[Change]] = {}
    for change in arrived:
        by_row.setdefault(change.row, []).append(change)
    if len(by_row) == len(arrived):
        return [sorted(arrived, key=lambda change: change.row)] if arrived else []
    found: defaultdict[int, list[Change]] = defaultdict(list)
    for row in sorted(by_row):
        for turn, change in enumerate(_not_superseded(by_row[row])):
            found[turn].append(change)
    return list(found.values())


def _not_superseded(changes: Sequence[Change]) -> list[Change]:
    """Changes of one row that have a key no later one has; oldest first, equals in order of arrival."""
    kept: list[Change] = []
    covered = 0
    oldest_first = sorted(changes, key=lambda change: change.as_of)
    for change in reversed(oldest_first):
        present = _EVERYTHING[change.kind] if change.present_keys is None else change.present_keys
        if present & ~covered or not kept:
            kept.append(change)
        covered |= present
    kept.reverse()
    return kept
