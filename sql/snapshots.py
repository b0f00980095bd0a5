"""A snapshot beside the directory: collected in a temporary table, then compared."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Command, Many, Value


class SnapshotRow(NamedTuple):
    """What a snapshot says of one row; ids are None where the directory does not know it. expected: JSON."""

    kind: str
    label: str
    ids: tuple[int, ...] | None
    expected: str


class Difference(NamedTuple):
    """A row that is ``other``, that the directory is ``lacking``, or that is ``beyond`` the snapshot.

    expected and held are JSON. total: how many differ in this way, of which this is one of the first.
    """

    difference: str
    label: str | None
    ids: list[int] | None
    expected: str | None
    held: str | None
    total: int


_PRESENT_MOMENT = Value[datetime]("present_moment")
_BEGIN = Command("begin_snapshot")
_FORBID_WRITING = Command("forbid_writing")
_PUT = Command("put_snapshot_rows")
_ANALYZE = Command("analyze_snapshot_rows")
_DIFFERENCES = Many("differences_of", Difference)


async def present_moment(conn: Connection) -> datetime:
    """The database's clock (UTC)."""
    return await _PRESENT_MOMENT(conn)


async def begin_snapshot(conn: Connection) -> None:
    """Makes the temporary table; from then on the caller's transaction can change nothing else."""
    await _BEGIN(conn)
    await _FORBID_WRITING(conn)


async def put_snapshot_rows(conn: Connection, rows: Sequence[SnapshotRow]) -> None:
    """Rows of the snapshot, each (kind, label) once."""
    await _PUT(
        conn,
        kinds=[row.kind for row in rows],
        labels=[row.label for row in rows],
        first_ids=[row.ids[0] if row.ids else None for row in rows],
        second_ids=[row.ids[1] if row.ids and len(row.ids) > 1 else None for row in rows],
        expected=[row.expected for row in rows],
    )


async def end_snapshot(conn: Connection) -> None:
    """All rows are there: prepares the comparison."""
    await _ANALYZE(conn)


async def differences_of(conn: Connection, kind: str, *, whole: bool, most: int) -> list[Difference]:
    """Of one kind, at most so many of each sort; of what the snapshot lacks only where it is ``whole``."""
    return await _DIFFERENCES(conn, kind=kind, whole=whole, most=most)
