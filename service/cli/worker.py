"""``clarion worker``."""

import os
from typing import Annotated

import typer
import uvloop

from service.runtime import logs
from service.runtime.settings import load
from service.runtime.tracing_export import exporting
from workers import process

# Where processors are scarce, a gateway beside the worker goes first. It answers people and needs little; with equal
# rights a big send, whose events are published meanwhile, makes everybody wait, and beside it is no faster for that.
_NICENESS = 10

app = typer.Typer(add_completion=False)


@app.command()
def worker(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Run just this consumer; repeatable: {', '.join(process.WORKERS)}."),
    ] = None,
) -> None:
    """Every consumer in one process, or those picked with --only."""
    names = list(dict.fromkeys(only or process.WORKERS))
    unknown = [name for name in names if name not in process.WORKERS]
    if unknown:
        known = ", ".join(process.WORKERS)
        raise typer.BadParameter(f"no consumer {', '.join(unknown)}; there are {known}", param_hint="--only")
    settings = load()
    logs.configure(settings)
    if os.nice(0) == 0:  # else the operator has chosen
        os.nice(_NICENESS)
    with exporting("clarion-worker"):
        uvloop.run(process.run(settings, names))
