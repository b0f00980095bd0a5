"""The ``clarion`` command (CONTRACT 2): exit 0 ok, 1 failed with one line on stderr, 2 wrong usage."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from io import FileIO, TextIOWrapper
from typing import Annotated, Any

import asyncpg
import typer
from typer.core import TyperGroup
from typer.main import get_command

from service.cli.failure import Failed
from service.cli.table import printable
from service.runtime.postgres import SchemaBehind
from service.runtime.settings import SettingsError

# By name: the module of this package that has it, and the typer app there.
_COMMANDS = {
    "migrate": ("migrate", "app"),
    "api": ("api", "app"),
    "worker": ("worker", "app"),
    "directory": ("directory", "app"),
    "dead": ("dead_letters", "app"),
    "token": ("tokens", "app"),
    "send": ("send", "app"),
    "batch": ("batch", "app"),
}


class _Commands(TyperGroup):
    """Imports a command when it is asked for: a short command need not load what the gateway imports."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        found = get_command(getattr(import_module(f"service.cli.{module}"), name))
        found.name = cmd_name
        return found


app = typer.Typer(name="clarion", cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clarion {version('clarion')}")
        raise typer.Exit


@app.callback()
def _clarion(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Messages to everyone in an institution: the service, and what its operators and users need besides."""


def main() -> None:
    """Run the command line."""
    _prepare_output()
    try:
        app(prog_name="clarion")  # also as python -m service
    except (SettingsError, Failed, SchemaBehind, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        typer.echo(f"clarion: {_in_one_line(error)}", err=True)
        raise SystemExit(1) from None


def _prepare_output() -> None:
    """Whichever output a process was started with, none or one whose encoding lacks a letter, it is no reason to fail.

    A closed one would besides give its number to the next connection.
    """
    if sys.stdout is None:
        sys.stdout = TextIOWrapper(FileIO(os.devnull, "w"), "utf-8")
    if sys.stderr is None:
        sys.stderr = TextIOWrapper(FileIO(os.devnull, "w"), "utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _in_one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__
