"""Directory events, written to the directory's tables."""

from collections import Counter
from collections.abc import Iterable, Sequence

from service.application.directory.changes import Followed, by_kind, in_parts, in_transaction, write_changes
from service.contracts.directory import DirectoryEvent
from service.domain.directory import change_of
from service.domain.directory_shapes import Kind
from sql.connection import Connection


async def follow(conn: Connection, events: Sequence[DirectoryEvent]) -> Followed:
    """As apply, except that an event the database refuses does not take the others with it."""
    return await in_parts(events, lambda part: apply(conn, part))


async def apply(conn: Connection, events: Iterable[DirectoryEvent]) -> Counter[Kind]:
    """Write a set of events in one transaction; returns how many rows of each kind are other than before.

    Where it conflicts with a send, all is done again; after five attempts raises one of postgres.CONFLICT.
    """
    changes = by_kind([change_of(event) for event in events])
    return await in_transaction(conn, lambda: write_changes(conn, changes))
