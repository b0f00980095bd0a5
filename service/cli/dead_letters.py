"""``clarion dead``: lists, shows, requeues and drops dead letters (CONTRACT 4)."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import IO, Annotated, Any, TypeVar

import orjson
import typer
import uvloop

from service.application.dead_letters import revive
from service.cli.failure import Failed
from service.domain.dead_letters import DeadLetter
from service.runtime import logs
from service.runtime import settings as configuration
from service.runtime.broker import BrokerUnavailable
from service.runtime.dead_letters.queue import Found, browse
from service.runtime.dead_letters.requeue import Tally, drop, requeue
from service.runtime.postgres import connected
from service.runtime.settings import BrokerSettings, Settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Browse the dead letters: what could not be handled, each with its reason. They stay until they are"
    " requeued or dropped.",
)

_IN_MEMORY = 4 << 20  # bytes of a list; the rest goes to a file, so that all are requeued before the list is read

_T = TypeVar("_T")
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="As clarion dead list shows them.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]
Source = Annotated[str | None, typer.Option("--source", metavar="QUEUE", help="With --all: only those from there.")]


@app.command("list")
def list_letters(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """One line per dead letter, oldest first: id, source, first time, last time, attempts, reason.

    Those that another consumer holds at this moment are left out.
    """
    settings = configuration.load_part(BrokerSettings)
    describe = _as_json if as_json else _as_line
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as lines:
        _run(_list(settings, describe, lines))
        lines.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(lines, sys.stdout.buffer)


async def _list(settings: BrokerSettings, describe: Callable[[Found], bytes], lines: IO[bytes]) -> None:
    async with browse(settings) as browser:
        async for found in browser.letters():
            lines.write(describe(found) + b"\n")


def _as_line(found: Found) -> bytes:
    letter = found.letter
    parts = (
        letter.id,
        letter.source or "-",
        _moment(letter.first_time) or "-",
        _moment(letter.last_time) or "-",
        str(letter.attempts),
        letter.reason,
    )
    return "  ".join(map(_printable, parts)).encode()


def _as_json(found: Found) -> bytes:
    return orjson.dumps(_described(found) | {"bytes": len(found.delivered.body)})


def _described(found: Found) -> dict[str, Any]:
    letter = found.letter
    return {
        "id": letter.id,
        "source": letter.source,
        "first_time": _moment(letter.first_time),
        "last_time": _moment(letter.last_time),
        "attempts": letter.attempts,
        "reason": letter.reason,
        "routing_key": letter.routing_key,
        "message_id": found.delivered.header.properties.message_id,
    }


@app.command("show")
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Print what is known of a dead letter and its headers, then an empty line and its body as it came."""
    found = _run(_find(configuration.load_part(BrokerSettings), letter_id))
    if found is None:
        raise Failed(f"there is no dead letter {_printable(letter_id)}")
    for name, value in _described(found).items():
        typer.echo(f"{name}: {_printable('-' if value is None else str(value))}")
    message = found.message
    properties: Mapping[str, Any] = {
        "type": message.type,
        "content_type": message.content_type,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
    }
    for name, value in properties.items():
        if value is not None:
            typer.echo(f"{name}: {_printable(value)}")
    for name, value in sorted(message.headers.items()):
        typer.echo(f"header {_printable(name)}: {_printable(str(value))}")
    typer.echo()
    sys.stdout.flush()
    if sys.stdout.isatty():
        typer.echo(_printable(message.body.decode("utf-8", "backslashreplace"), also="\n\t"))
    else:
        sys.stdout.buffer.write(message.body)


async def _find(settings: BrokerSettings, letter_id: str) -> Found | None:
    async with browse(settings) as browser:
        async for found in browser.letters():
            if found.letter.id == letter_id:
                return found
    return None


@app.command("requeue")
def requeue_letters(ids: Ids = None, everything: All = False, source: Source = None) -> None:
    """Requeue dead letters where they came from, to be handled once more.

    Removed only when the broker has confirmed them there: interrupted, one may be handled twice and none is lost. One
    that is dead-lettered again keeps its first time and counts its attempts.

    A chunk, a batch update or a reply that was given up is brought back to work. A dead letter that has nothing left to
    do is left, and the reason is printed.
    """
    chosen = _Chosen(ids, everything, source)
    tally = Tally()
    _report(_requeue(configuration.load(), chosen, tally), chosen, tally, "requeued")
    if tally.left:
        parts = (f"{left.count} {reason} and were left, such as {left.example}" for reason, left in tally.left.items())
        raise Failed("; ".join(parts))


async def _requeue(settings: Settings, chosen: "_Chosen", tally: Tally) -> None:
    due_after = timedelta(seconds=settings.retry_after)
    async with connected(settings) as conn:
        await requeue(settings, chosen, tally, partial(revive, conn, due_after=due_after))


@app.command("drop")
def drop_letters(ids: Ids = None, everything: All = False, source: Source = None) -> None:
    """Remove dead letters, for good."""
    chosen = _Chosen(ids, everything, source)
    tally = Tally()
    _report(drop(configuration.load_part(BrokerSettings), chosen, tally), chosen, tally, "dropped")


class _Chosen:
    """The dead letters that a command names. One that was published twice has one id."""

    def __init__(self, ids: list[str] | None, everything: bool, source: str | None) -> None:
        if bool(ids) == everything:
            raise typer.BadParameter("name letters, or say --all", param_hint="ID...")
        if source is not None and not everything:
            raise typer.BadParameter("goes with --all", param_hint="--source")
        self._ids = frozenset(ids or ())
        self._source = source
        self.missing = set(self._ids)

    def __call__(self, letter: DeadLetter) -> bool:
        self.missing.discard(letter.id)
        return letter.id in self._ids if self._ids else self._source in (None, letter.source)


def _report(work: Coroutine[Any, Any, None], chosen: _Chosen, tally: Tally, done: str) -> None:
    """Runs the work and says how much of it was done, however it ended."""
    try:
        _run(work)
    finally:
        typer.echo(f"{tally.done} {done}")
    if chosen.missing:
        raise Failed(f"there is no dead letter {', '.join(map(_printable, sorted(chosen.missing)))}")


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    logs.silence()
    try:
        return uvloop.run(work)
    except BrokerUnavailable as error:
        raise Failed(str(error)) from None


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _printable(text: str, also: str = "") -> str:
    """One line without control characters: any client may have written it."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in also else letter.encode("unicode_escape").decode()
        for letter in text
    )
