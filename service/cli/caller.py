"""Who asks which service: what all commands over HTTP have in common."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import stamina.instrumentation
import typer

from service.cli.failure import Failed
from service.client.failures import RequestFailed
from service.client.http import Client

DEFAULT_URL = "http://127.0.0.1:8080"
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it

Url = Annotated[str, typer.Option(envvar="CLARION_URL", help="Where the service answers.")]
Token = Annotated[str, typer.Option(envvar="CLARION_TOKEN", help="Access token of the caller.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value, for machines.")]

T = TypeVar("T")


class Interrupted(Exception):
    """Ctrl-C; the message is the line that the caller reads."""


def ask(url: str, token: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """The work done with a client of that caller. Failed with what the service said; exit 130 after Ctrl-C."""

    async def run() -> T:
        async with Client(url, token, lambda line: typer.echo(f"clarion: {line}", err=True)) as client:
            return await work(client)

    stamina.instrumentation.set_on_retry_hooks(())  # the client says itself that it tries again
    try:
        return asyncio.run(run())
    except RequestFailed as error:
        raise Failed(str(error)) from None
    except Interrupted as error:
        typer.echo(f"{_below_ctrl_c()}clarion: {error}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _below_ctrl_c() -> str:
    """A terminal shows ``^C`` where the cursor is."""
    return "\n" if sys.stderr.isatty() else ""
