"""``clarion batch``: bulk sends over HTTP (CONTRACT 3.4), and those that are stuck straight from the database."""

import secrets
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
import typer

from service.cli.batch_following import follow_batch
from service.cli.batch_text import RECIPIENT_HEAD, batch_rows, batch_table, recipient_line
from service.cli.caller import DEFAULT_URL, AsJson, Token, Url, ask
from service.cli.json_output import write_json
from service.cli.stuck_batches import print_stuck_batches
from service.cli.table import aligned, fitted
from service.client.batches import (
    Batch,
    batch_recipients,
    batch_recipients_csv,
    list_batches,
    move_batch,
    show_batch,
)
from service.client.failures import RequestFailed
from service.client.http import Client
from service.client.progress import line
from service.domain.batch import BatchState, Move
from service.domain.batch_recipients import RecipientState

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Follow and steer bulk sends; list those that are stuck.",
)

BatchId = Annotated[
    int, typer.Argument(metavar="ID", min=0, help="Of the batch, as clarion send and clarion batch list show it.")
]
_LIMIT = 100
_NOT_NOW = "409 Conflict: state: "  # of a move (CONTRACT 3.1)


@app.command("list", epilog="Example: clarion batch list --state sending --state paused")
def list_own(
    *,
    token: Annotated[
        str | None, typer.Option(envvar="CLARION_TOKEN", help="Access token of the caller. Not for --stuck.")
    ] = None,
    url: Url = DEFAULT_URL,
    states: Annotated[
        list[BatchState] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help=f"Those in this state: {', '.join(BatchState)}. Repeatable; without it all.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help=f"The newest so many; {_LIMIT} without it.")
    ] = None,
    stuck: Annotated[bool, typer.Option("--stuck", help="Those that stand still, of all senders.")] = False,
    as_json: AsJson = False,
) -> None:
    """List your batches, the newest first; with --stuck those that stand still, for operators.

    --stuck looks straight into the database (CLARION_DATABASE_URL), so it works while the service does not, and lists
    those of all senders, the one that stands still for longest first. A batch is stuck when nothing has happened to it
    for ten times CLARION_RETRY_AFTER, or when it is late for its start by twice that; not while it is paused. Exit
    status 0 whether there is one or not.
    """
    if stuck:
        if states or limit is not None:
            raise typer.BadParameter("lists all that are stuck, whatever their state", param_hint="--stuck")
        print_stuck_batches(as_json=as_json)
        return
    if token is None:
        raise typer.BadParameter("is missing (or CLARION_TOKEN)", param_hint="--token")
    most = _LIMIT if limit is None else limit
    found, more = ask(url, token, lambda client: list_batches(client, states or list(BatchState), most))
    if more:
        typer.echo(f"Not all of them: the newest {most:,}; --limit N shows more", err=True)
    if as_json:
        write_json([batch.document for batch in found])
        return
    for row in aligned(batch_table(found)):
        typer.echo(fitted(row))


@app.command("show", epilog="Example: clarion batch show 42")
def show(batch_id: BatchId, *, token: Token, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show a batch as it is now: its counts, its times and the beginning of its message."""
    found = ask(url, token, lambda client: show_batch(client, batch_id))
    if as_json:
        write_json(found.document)
        return
    for row in aligned(batch_rows(found)):
        typer.echo(row)


@app.command("watch", epilog="Example: clarion batch watch 42")
def watch(batch_id: BatchId, *, token: Token, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show a batch's progress until its end; exit status 1 when that is in error. Ctrl-C ends the command only.

    With --json its object at the end, and nothing before.
    """
    ask(url, token, lambda client: follow_batch(client, batch_id, as_json=as_json))


@app.command("recipients", epilog="Example: clarion batch recipients 42 --state failed --csv > failed.csv")
def recipients(
    batch_id: BatchId,
    *,
    token: Token,
    url: Url = DEFAULT_URL,
    state: Annotated[
        RecipientState | None,
        typer.Option(metavar="STATE", help=f"Those in this state: {', '.join(RecipientState)}. Without it all."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header line.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what became of each recipient, by user id, as it comes in; however many they are."""
    if as_csv and as_json:
        raise typer.BadParameter("give one of them", param_hint="--csv, --json")

    async def work(client: Client) -> None:
        if as_csv:
            async for part in batch_recipients_csv(client, batch_id, state):
                sys.stdout.buffer.write(part)
        elif as_json:
            await _write_array(batch_recipients(client, batch_id, state))
        else:
            await _write_lines(batch_recipients(client, batch_id, state))
        sys.stdout.flush()

    ask(url, token, work)


async def _write_array(pages: AsyncIterator[list[dict[str, Any]]]) -> None:
    """One JSON array, of which a page is known at a time."""
    out, before = sys.stdout.buffer, b"["
    async for rows in pages:
        for row in rows:
            out.write(before + b"\n" + orjson.dumps(row))
            before = b","
    out.write(b"[]\n" if before == b"[" else b"\n]\n")


async def _write_lines(pages: AsyncIterator[list[dict[str, Any]]]) -> None:
    begun = False
    async for rows in pages:
        if not begun:
            typer.echo(RECIPIENT_HEAD)
            begun = True
        for row in rows:
            typer.echo(recipient_line(row))


@app.command("cancel", epilog="Example: clarion batch cancel 42")
def cancel(batch_id: BatchId, *, token: Token, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Cancel a batch that has not ended: what is delivered stays, everybody else is skipped."""
    _move(batch_id, Move.CANCEL, url, token, as_json=as_json)


@app.command("pause", epilog="Example: clarion batch pause 42")
def pause(batch_id: BatchId, *, token: Token, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Pause a batch that is under way: deliveries that have begun end, no other begins."""
    _move(batch_id, Move.PAUSE, url, token, as_json=as_json)


@app.command("resume", epilog="Example: clarion batch resume 42")
def resume(batch_id: BatchId, *, token: Token, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Let a paused batch go on."""
    _move(batch_id, Move.RESUME, url, token, as_json=as_json)


@app.command("retry", epilog="Example: clarion batch retry 42")
def retry(batch_id: BatchId, *, token: Token, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Send a batch that has ended again to those who failed, and to nobody else."""
    _move(batch_id, Move.RETRY, url, token, as_json=as_json)


def _move(batch_id: int, move: Move, url: str, token: str, *, as_json: bool) -> None:
    """Under a key of its own: after a broken connection the first answer is what counts."""
    key = secrets.token_hex(16)

    async def work(client: Client) -> Batch:
        try:
            return await move_batch(client, batch_id, move, key=key)
        except RequestFailed as error:
            if _NOT_NOW not in str(error):
                raise
            state = (await show_batch(client, batch_id)).state
            raise RequestFailed(f"{error} (the batch is in state {state})") from None

    moved = ask(url, token, work)
    if as_json:
        write_json(moved.document)
    else:
        typer.echo(line(moved))
