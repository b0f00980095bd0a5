"""``clarion directory import`` and ``verify``: what institutions have, Canvas SIS CSV or OneRoster (CONTRACT 5.1)."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from service.application.directory import snapshot_differences, snapshots
from service.cli.complaints import Complaints
from service.cli.directory_progress import LoadProgress
from service.cli.failure import Failed
from service.cli.snapshot_differences import lines_of
from service.cli.snapshot_files import BadFile, Snapshot, SnapshotFile, rows_of, snapshot_of
from service.contracts.snapshot_rows import MalformedRow
from service.domain import canvas_sis, oneroster
from service.domain.directory_shapes import Kind
from service.domain.snapshots import Record
from service.runtime import settings as configuration
from service.runtime.postgres import connected
from service.runtime.settings import SnapshotSettings
from sql.connection import Connection
from sql.snapshots import Difference, present_moment

# Rows per transaction: enough to make a statement cheap, few enough to hold no lock for long.
SET_SIZE = 5000
MOST_DIFFERENCES = 100  # that are shown, of one sort and kind
_ALLOCATIONS_PER_COLLECTION = 500_000  # a set is many small objects and no cycles

_RECORDS = {**canvas_sis.RECORDS, **oneroster.RECORDS}
_KINDS = {**canvas_sis.KINDS, **oneroster.KINDS}
Paths = Annotated[list[str], typer.Argument(metavar="PATH...", help="Folders, zips or single CSV files.")]


@dataclass
class RecordSet:
    """What some rows say, to be written together; ``places``: where each record stood."""

    records: list[Record] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    rows: int = 0


@dataclass
class Reading:
    """A snapshot that is being read, and what became of its rows so far."""

    snapshot: Snapshot
    rows: Counter[str] = field(default_factory=Counter)  # by the kind of the file
    bad: Complaints = field(default_factory=lambda: Complaints("bad rows"))
    bytes_read: int = 0

    def has_read(self, size: int) -> None:
        """So many bytes more."""
        self.bytes_read += size

    def sets(self) -> Iterator[RecordSet]:
        """What the good rows of all files say, in sets; the bad ones are reported."""
        found = RecordSet()
        for file in self.snapshot.files:
            try:
                for place, records in self._rows(file):
                    found.records += records
                    found.places += [place] * len(records)
                    found.rows += 1
                    if found.rows == SET_SIZE:
                        yield found
                        found = RecordSet()
            except BadFile as error:  # it has changed since it was looked through
                self.bad.add(error.place, error.reason)
        if found.rows:
            yield found

    def _rows(self, file: SnapshotFile) -> Iterator[tuple[str, list[Record]]]:
        columns = frozenset(file.columns)
        for number, row in rows_of(file, self.has_read):
            place = f"{file.name}:{number}"
            if isinstance(row, MalformedRow):
                self.bad.add(place, str(row))
                continue
            if type(row) in _RECORDS:  # a manifest's rows are about the files
                self.rows[file.form.name] += 1
                yield place, list(_RECORDS[type(row)](row, columns))


Work = Callable[[Connection, Reading, AsyncIterator[RecordSet], int], Awaitable[None]]


def import_snapshot(paths: Paths) -> None:
    """Load a snapshot in Canvas SIS CSV or OneRoster; returns when it is committed. Again, it goes on or renews."""
    written: Counter[Kind] = Counter()

    async def load(conn: Connection, reading: Reading, sets: AsyncIterator[RecordSet], root: int) -> None:
        as_of = await present_moment(conn)
        async for found in sets:
            followed = await snapshots.follow(conn, found.records, as_of, root)
            written.update(followed.written)
            for place, reason in {found.places[n]: reason for n, reason in followed.refused.items()}.items():
                reading.bad.add(place, reason)

    reading, seconds = _run(paths, load)
    rows = reading.rows.total()
    typer.echo(
        f"{rows} rows in {seconds:.2f} s ({rows / seconds:.0f}/s):"
        f" {written.total()} rows written, {reading.bad.count} bad rows"
    )
    _print_counts(reading)
    if reading.bad.count:
        raise typer.Exit(1)


def verify_snapshot(paths: Paths) -> None:
    """Compare a snapshot with the directory and print what differs, changing nothing; exit 1 where something does."""
    found: dict[str, list[Difference]] = {}

    async def compare(conn: Connection, reading: Reading, sets: AsyncIterator[RecordSet], root: int) -> None:
        now = await present_moment(conn)
        async with snapshot_differences.one_moment(conn):
            async for each in sets:
                await snapshot_differences.collect(conn, each.records, now, root)
            found.update(await snapshot_differences.found(conn, whole_kinds(reading.snapshot), MOST_DIFFERENCES))

    reading, seconds = _run(paths, compare)
    total = 0
    for kind, differences in found.items():
        for line in lines_of(kind, differences):
            typer.echo(line)
        total += sum({each.difference: each.total for each in differences}.values())
    typer.echo(
        f"{reading.rows.total()} rows compared in {seconds:.2f} s: {total} differences, {reading.bad.count} bad rows"
    )
    _print_counts(reading)
    if total or reading.bad.count:
        raise typer.Exit(1)


def whole_kinds(snapshot: Snapshot) -> frozenset[str]:
    """Kinds of which the snapshot has everything."""
    partial = snapshot.partial
    files = [file for file in snapshot.files if file.form.model in _KINDS and file.form.name not in partial]
    return frozenset(kind for file in files for kind in _KINDS[file.form.model])


def _print_counts(reading: Reading) -> None:
    for name, count in reading.rows.items():
        typer.echo(f"  {name} {count}")


def _run(paths: list[str], work: Work) -> tuple[Reading, float]:
    """Finds the files, reads them while the work goes on, and reports what is bad; seconds of the whole."""
    settings = configuration.load_part(SnapshotSettings)
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION)
    started = perf_counter()
    with ExitStack() as opened:
        reading = Reading(snapshot_of(paths, opened))
        if reading.snapshot.ignored:
            typer.echo(f"ignored: {', '.join(reading.snapshot.ignored)}", err=True)
        if not reading.snapshot.files and not reading.snapshot.bad:
            raise Failed("no file there has a header line of Canvas SIS CSV or of OneRoster")
        with LoadProgress(Console(stderr=True), reading.snapshot.size, "rows", "bad rows") as progress:
            reading.bad.say = progress.say
            for error in reading.snapshot.bad:
                reading.bad.add(error.place, error.reason)
            asyncio.run(_work(settings, reading, work, progress))
    reading.bad.close()
    return reading, perf_counter() - started


async def _work(settings: SnapshotSettings, reading: Reading, work: Work, progress: LoadProgress) -> None:
    async with connected(settings) as conn:
        sets = _read_ahead(reading, progress)
        try:
            await work(conn, reading, sets, settings.root_account_id)
        finally:
            await sets.aclose()


async def _read_ahead(reading: Reading, progress: LoadProgress) -> AsyncGenerator[RecordSet, None]:
    """The sets; each is read while the one before is written."""
    sets = reading.sets()
    ahead = asyncio.ensure_future(asyncio.to_thread(next, sets, None))
    try:
        while (found := await ahead) is not None:
            ahead = asyncio.ensure_future(asyncio.to_thread(next, sets, None))
            yield found
            progress.show(reading.bytes_read, reading.rows.total(), reading.bad.count)
    finally:
        await asyncio.wait([ahead])
