"""``clarion send`` and ``clarion batch``: a client of the HTTP API."""

import typer

batch_app = typer.Typer(no_args_is_help=True, help="Follow batches.")
