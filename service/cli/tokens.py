"""``clarion token``: access tokens for the HTTP API."""

import typer

app = typer.Typer(no_args_is_help=True, help="Create and revoke access tokens.")
