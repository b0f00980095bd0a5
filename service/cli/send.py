"""``clarion send``: a message over HTTP (CONTRACT 3.4)."""

import asyncio
import secrets
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from service.cli.batch_following import follow_batch
from service.cli.caller import DEFAULT_URL, AsJson, Interrupted, Token, Url, ask
from service.cli.json_output import write_json
from service.cli.stdin import STDIN, standard_input
from service.cli.table import aligned, printable
from service.client.batches import show_batch
from service.client.failures import RequestFailed
from service.client.http import Client
from service.client.messages import DryRun, NewMessage, Sent, preview, send
from service.domain.errors import Refusal
from service.domain.idempotency_keys import read_key
from service.domain.ids import as_if_local, parse_id
from service.domain.schedule import parse_start

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

_HINTS = {  # what a refusal comes down to here (canvas/endpoints.md 4.2)
    "recipients: too many for group conversation": "with --bulk each has a conversation of their own, in any number",
    "recipients: invalid": "you may write to none; to a course, section or group only those write who belong to it",
    "send_at: invalid": "--at is a time to come, up to 366 days ahead",
}
_NAMED = 10  # of those whom a dry run would reach
_MOMENT = "2026-12-01T08:00+01:00"
_EXAMPLE = "Example: clarion send --course 1001 --subject Welcome --body 'See you on Monday.' --bulk --follow"


def _id(text: str) -> str:
    if parse_id(as_if_local(text) or text) is None:
        raise typer.BadParameter("an id is a number")
    return text


def _moment(text: str) -> str:
    if parse_start(text) is not None:
        return text
    try:
        hint = datetime.fromisoformat(text).astimezone().isoformat() if ":" in text else _MOMENT
    except (ValueError, OverflowError):  # the year 1 or 9999 of here may be none elsewhere
        hint = _MOMENT
    raise typer.BadParameter(f"a time with its zone, such as {hint}")


def _key(text: str) -> str:
    try:
        read_key(text)
    except Refusal as refusal:
        raise typer.BadParameter(f"no key: {refusal.message}") from None
    if not text.isprintable():
        raise typer.BadParameter("no key: not printable text")
    return text


@app.command(epilog=_EXAMPLE)
def send_message(
    *,
    subject: Annotated[str, typer.Option(metavar="TEXT", help="Up to 255 characters.")],
    token: Token,
    url: Url = DEFAULT_URL,
    course: Annotated[str | None, typer.Option(parser=_id, metavar="ID", help="To everybody in a course.")] = None,
    section: Annotated[str | None, typer.Option(parser=_id, metavar="ID", help="To everybody in a section.")] = None,
    group: Annotated[str | None, typer.Option(parser=_id, metavar="ID", help="To everybody in a group.")] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="To a user: an id or uuid:X; or to a part of a course: course_5_teachers. Repeatable."
        ),
    ] = None,
    body: Annotated[str | None, typer.Option(metavar="TEXT", help="The message.")] = None,
    body_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The message in a file; - for standard input.",
        ),
    ] = None,
    group_conversation: Annotated[
        bool, typer.Option("--group-conversation", help="One conversation of all, where everybody sees replies.")
    ] = False,
    bulk: Annotated[
        bool, typer.Option("--bulk", help="A new conversation with each, however many they are, as a batch.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would get it and who would not, and send nothing.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            parser=_moment, metavar="ISO8601", help="Send it then: a time with its zone, up to 366 days ahead."
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            parser=_key, metavar="KEY", help="Sent once, however often it is repeated. Without it one is made."
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress of the batch until its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a message, and print the ids of its conversations or of its batch.

    Without --bulk and --group-conversation it goes into the private thread with each recipient. A message to a course,
    a section or a group, and one with --bulk or --at, becomes a batch, which is delivered after the command has ended;
    --follow waits for it, and Ctrl-C then ends the command and not the batch. Recipients you may not write to are left
    out as long as there are others; --dry-run names them.
    """
    recipients, context = _recipients(course, section, group, to)
    message = NewMessage(
        recipients=recipients,
        body=_body(body, body_file),
        subject=subject,
        context_code=context,
        group=group_conversation or bulk,
        bulk=bulk,
        asynchronous=bulk or context is not None,
        send_at=at,
    )
    if dry_run:
        found = ask(url, token, lambda client: _preview(client, message))
        if as_json:
            write_json(found.document)
        else:
            _show_preview(found, recipients)
        return
    key = idempotency_key or _new_key(quiet=as_json)

    async def work(client: Client) -> None:
        sent = await _send(client, message, key)
        if sent.batch_id is None:
            _show_conversations(sent, as_json=as_json)
        elif follow:
            await follow_batch(client, sent.batch_id, as_json=as_json)
        elif as_json:
            write_json((await show_batch(client, sent.batch_id)).document)
        else:
            _show_batch(sent.batch_id)

    ask(url, token, work)


def _recipients(
    course: str | None, section: str | None, group: str | None, to: list[str] | None
) -> tuple[list[str], str | None]:
    """As the service takes them, and the context that they are written to in."""
    contexts = [f"{kind}_{id_}" for kind, id_ in (("course", course), ("section", section), ("group", group)) if id_]
    if len(contexts) + bool(to) != 1:
        raise typer.BadParameter(
            "give exactly one of them; only --to may be repeated", param_hint="--course, --section, --group, --to"
        )
    return (contexts, contexts[0]) if contexts else (to or [], None)


def _body(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise typer.BadParameter("give exactly one of them", param_hint="--body, --body-file")
    if file is None:
        return text or ""
    try:
        return (standard_input().buffer.read() if str(file) == STDIN else file.read_bytes()).decode()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--body-file") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not text in UTF-8", param_hint="--body-file") from None


def _new_key(*, quiet: bool) -> str:
    """A key of its own, said before anything is sent; not on standard output where a program may read that."""
    key = secrets.token_hex(16)
    typer.echo(f"idempotency key: {key}", err=quiet or not sys.stdout.isatty())
    return key


async def _send(client: Client, message: NewMessage, key: str) -> Sent:
    again = f"it may have been sent; to repeat it safely: --idempotency-key {shlex.quote(key)}"
    try:
        return await send(client, message, key=key)
    except asyncio.CancelledError:
        raise Interrupted(f"stopped before the answer: {again}") from None
    except RequestFailed as error:
        if error.uncertain:
            raise RequestFailed(f"{error} ({again})") from None
        raise _with_hint(error) from None


async def _preview(client: Client, message: NewMessage) -> DryRun:
    try:
        return await preview(client, message)
    except RequestFailed as error:
        raise _with_hint(error) from None


def _with_hint(error: RequestFailed) -> RequestFailed:
    hints = [hint for refusal, hint in _HINTS.items() if refusal in str(error)]
    return RequestFailed(f"{error} ({hints[0]})", uncertain=error.uncertain) if hints else error


def _show_conversations(sent: Sent, *, as_json: bool) -> None:
    if as_json:
        write_json(sent.conversations)
    else:
        typer.echo(f"conversations: {' '.join(str(each['id']) for each in sent.conversations)}")


def _show_batch(batch_id: int) -> None:
    typer.echo(f"batch: {batch_id}")
    if sys.stdout.isatty():
        typer.echo(f"To see how far it has come: clarion batch watch {batch_id}")


def _show_preview(found: DryRun, recipients: Sequence[str]) -> None:
    rejected = {each.recipient for each in found.rejected}
    reached = [each for each in recipients if each not in rejected]
    more = f" and {len(reached) - _NAMED:,} more" if len(reached) > _NAMED else ""
    unnamed = found.rejected_count - len(found.rejected)
    rows = [
        *([] if unnamed else [("to", printable(", ".join(reached[:_NAMED]) + more))]),
        ("recipients", f"{found.total:,}"),
        ("kind", found.kind),
        ("mode", found.mode),
        ("new threads", f"{found.new_conversations:,}"),
        ("reused threads", f"{found.reused_conversations:,}"),
        ("limit", "none" if found.limit is None else f"{found.limit:,}"),
        ("rejected", f"{found.rejected_count:,}"),
        *((f"  {printable(each.recipient)}", each.reason) for each in found.rejected),
    ]
    for row in aligned(rows):
        typer.echo(row)
    if unnamed:
        typer.echo(f"  and {unnamed:,} more")
    typer.echo("Nothing was sent.")
