"""``clarion directory``: the institution's users, courses and enrolments, loaded from files."""

import typer

app = typer.Typer(no_args_is_help=True, help="Follow the institution's directory.")
