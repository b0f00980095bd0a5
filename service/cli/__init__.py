"""The ``clarion`` command (CONTRACT 2): exit 0 ok, 1 failed with one line on stderr, 2 wrong usage."""

import sys

import typer

from service.cli import client, directory, serve, tokens
from service.cli.failure import Failed
from service.runtime.settings import SettingsError

app = typer.Typer(name="clarion", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("migrate")(serve.migrate)
app.command("api")(serve.api)
app.command("worker")(serve.worker)
app.add_typer(directory.app, name="directory")
app.add_typer(tokens.app, name="token")
app.command("send")(client.send)
app.add_typer(client.batch_app, name="batch")


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (SettingsError, Failed, OSError) as error:
        print(f"clarion: {error}", file=sys.stderr)  # noqa: T201 - a command line speaks on stderr
        raise SystemExit(1) from None
