"""``clarion directory``: the institution's users, courses and enrolments, loaded from files."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from service.application.directory import events as directory_events
from service.cli.complaints import Complaints
from service.cli.directory_files import opened
from service.cli.directory_progress import LoadProgress
from service.cli.ndjson import blocks_of_lines
from service.cli.snapshots import import_snapshot, verify_snapshot
from service.cli.stdin import STDIN
from service.contracts.directory import DirectoryEvent, ForeignEvent, MalformedEvent, parse_event
from service.domain.directory_shapes import Kind
from service.runtime import settings as configuration
from service.runtime.postgres import connected
from sql.connection import Connection

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Follow the institution's directory.")

# Events per transaction: enough to make a statement cheap, few enough to hold no lock for long.
SET_SIZE = 5000
# A set is many small objects and no cycles; looking for cycles among them costs a third of the time.
_ALLOCATIONS_PER_COLLECTION = 500_000

app.command("import")(import_snapshot)
app.command("verify")(verify_snapshot)


@dataclass
class Tally:
    """What became of the lines of all files."""

    events: Counter[str] = field(default_factory=Counter)  # by event name
    ignored: Counter[str] = field(default_factory=Counter)  # well-formed, but about something else
    rows: Counter[Kind] = field(default_factory=Counter)  # written: other than before
    bad: Complaints = field(default_factory=lambda: Complaints("bad lines"))

    def reject(self, path: str, number: int, reason: str) -> None:
        """Reports a line that does not count."""
        self.bad.add(f"{'stdin' if path == STDIN else path}:{number}", reason)


@dataclass
class EventSet:
    """Events to be written together, and where each one stood."""

    events: list[DirectoryEvent] = field(default_factory=list)
    lines: list[tuple[str, int]] = field(default_factory=list)  # path and number


@app.command("load")
def load(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="NDJSON files; - is standard input.")],
) -> None:
    """Load directory events, one JSON object a line; returns when they are committed."""
    settings = configuration.load_part(configuration.DatabaseSettings)
    # A missing file stops the command before anything is loaded.
    size = sum(os.stat(path).st_size for path in paths if path != STDIN)
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION)
    started = perf_counter()
    tally = Tally()
    with LoadProgress(Console(stderr=True), None if STDIN in paths else size, "events", "bad lines") as progress:
        tally.bad.say = progress.say
        asyncio.run(_load(settings, paths, tally, progress))
    _report(tally, perf_counter() - started)
    if tally.bad.count:
        raise typer.Exit(1)


async def _load(
    settings: configuration.DatabaseSettings, paths: list[str], tally: Tally, progress: LoadProgress
) -> None:
    """Read and parse one set of events while the database writes the one before."""
    writing: asyncio.Task[None] | None = None
    async with connected(settings) as conn:
        try:
            async for found in _sets(paths, tally, progress):
                if writing is not None:
                    await writing
                writing = asyncio.create_task(_write(conn, found, tally))
            if writing is not None:
                await writing
        finally:
            if writing is not None:
                await asyncio.wait([writing])


async def _write(conn: Connection, found: EventSet, tally: Tally) -> None:
    followed = await directory_events.follow(conn, found.events)
    tally.rows += followed.written
    for place, reason in followed.refused.items():
        tally.events[found.events[place].name] -= 1
        tally.reject(*found.lines[place], reason)


async def _sets(paths: list[str], tally: Tally, progress: LoadProgress) -> AsyncIterator[EventSet]:
    """The events of all files in sets; counts everything and reports what is bad as it goes."""
    found = EventSet()
    for path in paths:
        number = 0
        with opened(path) as file:
            async for lines in blocks_of_lines(file):
                for line in lines:
                    number += 1
                    if (event := _event(line, path, number, tally)) is not None:
                        found.events.append(event)
                        found.lines.append((path, number))
                    if len(found.events) == SET_SIZE:
                        yield found
                        found = EventSet()
                progress.show(file.read_so_far, tally.events.total(), tally.bad.count)
            progress.next_file(file.read_so_far)
    if found.events:
        yield found


def _event(line: bytes, path: str, number: int, tally: Tally) -> DirectoryEvent | None:
    """The event on a line; None for a blank line, another feed's event, or a bad line, which is reported."""
    if not line or line.isspace():
        return None
    try:
        event = parse_event(line)
    except MalformedEvent as error:
        tally.reject(path, number, str(error))
        return None
    if isinstance(event, ForeignEvent):
        tally.ignored[event.name] += 1
        return None
    tally.events[event.name] += 1
    return event


def _report(tally: Tally, seconds: float) -> None:
    events = tally.events.total()
    tally.bad.close()
    typer.echo(
        f"{events} events in {seconds:.2f} s ({events / seconds:.0f}/s):"
        f" {tally.rows.total()} rows written, {tally.ignored.total()} events ignored, {tally.bad.count} bad lines"
    )
    for name, count in sorted((+tally.events).items()):
        typer.echo(f"  {name} {count}")
    for name, count in sorted(tally.ignored.items()):
        typer.echo(f"  ignored {name!r} {count}")
