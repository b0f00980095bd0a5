"""``clarion send`` and ``clarion batch``: a client of the HTTP API, but for ``batch list --stuck``."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import stamina.instrumentation
import typer
from rich.console import Console

from service.cli.failure import Failed
from service.cli.stuck_batches import print_stuck_batches
from service.client.http import Client, NewMessage, RequestFailed
from service.client.progress import follow, line

send_app = typer.Typer(add_completion=False)
batch_app = typer.Typer(add_completion=False, no_args_is_help=True, help="Follow batches; list those that are stuck.")

T = TypeVar("T")
Url = Annotated[str, typer.Option(envvar="CLARION_URL", help="Where the service answers.")]
Token = Annotated[str, typer.Option(envvar="CLARION_TOKEN", help="Access token of the caller.")]
_DEFAULT_URL = "http://127.0.0.1:8080"


@send_app.command()
def send(
    *,
    recipient: Annotated[list[str], typer.Option(help="User id, uuid:…, course_N, section_N, group_N; repeatable.")],
    body: Annotated[str, typer.Option(help="The message.")],
    token: Token,
    url: Url = _DEFAULT_URL,
    subject: Annotated[str | None, typer.Option()] = None,
    context: Annotated[str | None, typer.Option(help="Context code, such as course_5.")] = None,
    group: Annotated[bool, typer.Option("--group", help="One conversation with everybody.")] = False,
    bulk: Annotated[bool, typer.Option("--bulk", help="With --group: a conversation for each.")] = False,
    force_new: Annotated[bool, typer.Option("--force-new", help="Never reuse a thread.")] = False,
    asynchronous: Annotated[bool, typer.Option("--async", help="Do not wait for the delivery.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the batch to its end.")] = False,
) -> None:
    """Send a message; prints the conversations' ids, or the id of the batch."""
    message = NewMessage(
        recipients=recipient,
        body=body,
        subject=subject,
        context_code=context,
        group=group,
        bulk=bulk,
        force_new=force_new,
        asynchronous=asynchronous,
    )

    async def run() -> None:
        async with Client(url, token) as client:
            sent = await client.send(message)
            if sent.batch_id is None:
                typer.echo(f"conversations: {' '.join(map(str, sent.conversation_ids))}")
            elif watch:
                await _follow(client, sent.batch_id)
            else:
                typer.echo(f"batch: {sent.batch_id}")

    _run(run())


@batch_app.callback()
def _batch() -> None:
    """Follow batches; list those that are stuck."""


@batch_app.command("list")
def list_batches(
    *,
    stuck: Annotated[bool, typer.Option("--stuck", help="Those that stand still, of all senders.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for machines.")] = False,
) -> None:
    """List the batches that stand still, for operators: a line each, the one that does for longest first.

    Straight from the database (CLARION_DATABASE_URL), so it works while the service does not. A batch is stuck when
    nothing has happened to it for ten times CLARION_RETRY_AFTER, or when it is late for its start by twice that; not
    while it is paused. Exit status 0 whether there is one or not.
    """
    if not stuck:
        raise typer.BadParameter("only stuck batches can be listed: say --stuck", param_hint="--stuck")
    print_stuck_batches(as_json=as_json)


@batch_app.command("watch")
def watch_batch(batch_id: Annotated[int, typer.Argument(metavar="ID")], token: Token, url: Url = _DEFAULT_URL) -> None:
    """Show a batch's progress until it ends; exit 1 when that is in error."""

    async def run() -> None:
        async with Client(url, token) as client:
            await _follow(client, batch_id)

    _run(run())


async def _follow(client: Client, batch_id: int) -> None:
    last = await follow(client, batch_id, Console())
    if last.state == "error":
        raise Failed(line(last))


def _run(work: Coroutine[Any, Any, T]) -> T:
    stamina.instrumentation.set_on_retry_hooks(())  # only the last failure is reported
    try:
        return asyncio.run(work)
    except RequestFailed as error:
        raise Failed(str(error)) from None
