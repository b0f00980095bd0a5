"""The ``clarion`` command (CONTRACT 2): exit 0 ok, 1 failed with one line on stderr, 2 wrong usage."""

import sys

import asyncpg
import typer

from service.cli import client, dead, directory, serve, tokens
from service.cli.failure import Failed
from service.runtime.settings import SettingsError

app = typer.Typer(name="clarion", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("migrate")(serve.migrate)
app.command("api")(serve.api)
app.command("worker")(serve.worker)
app.add_typer(directory.app, name="directory")
app.add_typer(dead.app, name="dead")
app.add_typer(tokens.app, name="token")
app.command("send")(client.send)
app.add_typer(client.batch_app, name="batch")


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (SettingsError, Failed, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        print(f"clarion: {_in_one_line(error)}", file=sys.stderr)  # noqa: T201 - a command line speaks on stderr
        raise SystemExit(1) from None


def _in_one_line(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    missing = isinstance(error, asyncpg.UndefinedTableError)
    return f"{said} (has clarion migrate been run?)" if missing else said
