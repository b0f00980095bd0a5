"""``clarion batch list --stuck``: what an operator looks at, straight from the database (CLARION_DATABASE_URL)."""

import asyncio
import sys
from datetime import timedelta

import orjson
import typer

from service.cli.table import aligned, printable
from service.runtime import settings as configuration
from service.runtime.postgres import connected
from service.runtime.settings import StuckSettings
from sql.stuck import StuckBatch, stuck_batches

_COLUMNS = ("ID", "SENDER", "STATE", "TOTAL", "DONE", "STUCK FOR", "WHY")


def print_stuck_batches(*, as_json: bool) -> None:
    """A table, or one JSON array; of no batch the table is empty but for its head."""
    found = asyncio.run(_find(configuration.load_part(StuckSettings)))
    if as_json:
        sys.stdout.flush()
        sys.stdout.buffer.write(orjson.dumps([_described(batch) for batch in found]) + b"\n")
        return
    for line in aligned([_COLUMNS, *map(_cells, found)]):
        typer.echo(line)


async def _find(settings: StuckSettings) -> list[StuckBatch]:
    async with connected(settings) as conn:
        return await stuck_batches(conn, retry_after=timedelta(seconds=settings.retry_after))


def _described(batch: StuckBatch) -> dict[str, object]:
    return batch._asdict() | {"stuck_for": round(batch.stuck_for)}


def _cells(batch: StuckBatch) -> tuple[str, ...]:
    return (
        str(batch.id),
        str(batch.sender_id),
        batch.state,
        str(batch.total),
        str(batch.done),
        str(timedelta(seconds=round(batch.stuck_for))),
        printable(batch.why),
    )
