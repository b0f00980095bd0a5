"""``clarion migrate``."""

import asyncio

import typer

from service.cli.failure import Failed
from service.runtime.postgres import connected
from service.runtime.settings import DatabaseSettings, load_part
from sql import migrate as migrations

app = typer.Typer(add_completion=False)


@app.command()
def migrate() -> None:
    """Bring the schema up to date; safe to run from many hosts at once."""
    settings = load_part(DatabaseSettings)

    async def run() -> list[str]:
        async with connected(settings, migrated=False) as conn:
            try:
                return await migrations.migrate(conn)
            except migrations.ForeignSchemaError as error:
                raise Failed(str(error)) from error

    applied = asyncio.run(run())
    typer.echo(f"applied {', '.join(applied)}" if applied else "up to date")
