"""What may happen to an institution, for tests of what its directory makes of it, and the directory as a whole."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from service.application.directory.events import apply
from service.contracts.directory import BODIES, DirectoryEvent
from service.domain.directory_shapes import Kind
from sql.connection import Connection
from tests.support.directory_feed import START, directory_event

_TABLES = [kind for kind in Kind if kind is not Kind.ENROLLMENT_STATE]

_Any = TypeVar("_Any")


def event(name: str, seconds: int = 0, /, **body: Any) -> DirectoryEvent:
    """An event of so many seconds after START."""
    return DirectoryEvent(name, START + timedelta(seconds=seconds), BODIES[name].model_validate(body))


_TEXT = st.sampled_from(["a", "b", "c", None])
_ID = st.integers(1, 3)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "state": st.sampled_from(["active", "completed"]),
    "context_type": st.sampled_from(["Course", "Account", None]),
}
for flag in (
    "site_admin",
    "enabled",
    "default_section",
    "non_collaborative",
    "limit_privileges_to_course_section",
    "restrict_enrollments_to_course_dates",
    "restrict_enrollments_to_section_dates",
):
    _VALUES[flag] = st.sampled_from([True, False, None])


def _value_of(key: str) -> st.SearchStrategy[Any]:
    if key in _VALUES:
        return _VALUES[key]
    if key.endswith("_id") and key not in ("user_sis_id", "sis_source_id"):
        return _ID
    if key.endswith("_at"):
        return st.sampled_from([START, START + timedelta(days=1), None])
    return st.integers(0, 5) if key == "size" else _TEXT


@st.composite
def _bodies(draw: st.DrawFn, name: str) -> dict[str, Any]:
    model = BODIES[name]
    required = {key: draw(_value_of(key)) for key, field in model.model_fields.items() if field.is_required()}
    optional = [key for key, field in model.model_fields.items() if not field.is_required()]
    whole = draw(st.booleans())
    given = optional if whole else draw(st.lists(st.sampled_from(optional), unique=True))
    return {key: draw(_value_of(key)) for key in given} | required


@st.composite
def histories(draw: st.DrawFn) -> list[DirectoryEvent]:
    """Events in the order in which they happened, no two at one moment."""
    names = draw(st.lists(st.sampled_from(sorted(BODIES)), min_size=1, max_size=4, unique=True))
    length = draw(st.integers(1, 12))
    made = []
    for second in range(length):
        name = draw(st.sampled_from(names))
        body = draw(_bodies(name).filter(lambda body: body.get("merged_into_user_id") != body.get("user_id")))
        made.append(event(name, second, **body))
    return made


def on_wire(happened: DirectoryEvent) -> bytes:
    """The event as it is published."""
    body = happened.body.model_dump(mode="json", exclude_unset=True)
    if body.get("updated_at") is not None:
        body["updated_at"] = happened.time.isoformat()
    return directory_event(happened.name, (happened.time - START).total_seconds(), **body)


def disordered(history: Sequence[_Any], random: Any) -> list[_Any]:
    """All of it in any order, some of it twice or more."""
    arrivals = [*history, *random.choices(history, k=len(history) // 2)]
    random.shuffle(arrivals)
    return arrivals


def in_sets(arrivals: Sequence[_Any], random: Any) -> list[Sequence[_Any]]:
    """Cut at any places."""
    cuts = sorted(random.sample(range(len(arrivals) + 1), random.randrange(len(arrivals) + 1)))
    return [arrivals[start:end] for start, end in zip([0, *cuts], [*cuts, len(arrivals)], strict=True)]


async def directory(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All that the directory says, and how new it is; a key's time counts only where keys differ in it."""
    return {
        table: [tuple(row.values()) for row in await conn.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]
        for table in _TABLES
    }


async def directory_after(conn: Connection, sets: Iterable[Sequence[DirectoryEvent]]) -> Any:
    """What an empty directory says after the sets were written, which is then undone."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        for events in sets:
            await apply(conn, events)
        return await directory(conn)
    finally:
        await transaction.rollback()
