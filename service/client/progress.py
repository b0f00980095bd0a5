"""A batch's progress for people: a live bar on a terminal, plain lines in a pipe."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from service.client.batch_events import watch_batch
from service.client.batches import Batch
from service.client.http import Client
from service.domain.batch import BatchState

_LINE_EVERY = 2.0  # seconds between two lines in a pipe, but for those of a new state


async def follow(client: Client, batch_id: int, console: Console) -> Batch:
    """Show the batch until it is finished, and return its last state. RequestFailed when the service stays away."""
    shown = watch_batch(client, batch_id)
    return await (_bar(shown, batch_id, console) if console.is_interactive else _lines(shown, console))


async def last_of(client: Client, batch_id: int) -> Batch:
    """The batch once it is finished, without a word on the way."""
    return [batch async for batch in watch_batch(client, batch_id)][-1]


async def _bar(shown: AsyncIterator[Batch], batch_id: int, console: Console) -> Batch:
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(complete_style="cyan", finished_style="green"),  # rich's own are red, and grey on 16 colours
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
        console=console,
    )
    with bar:
        task = bar.add_task(f"batch {batch_id}", total=None, counts="")
        async for batch in shown:
            bar.update(
                task,
                description=f"batch {batch.id} {batch.state}",
                total=batch.total,
                completed=batch.done,
                counts=", ".join(_counts(batch)),
            )
    return batch


async def _lines(shown: AsyncIterator[Batch], console: Console) -> Batch:
    due, state = 0.0, ""
    async for batch in shown:
        if batch.finished or batch.state != state or time.monotonic() >= due:
            console.print(line(batch), markup=False, highlight=False, soft_wrap=True)
            due, state = time.monotonic() + _LINE_EVERY, batch.state
    return batch


def line(batch: Batch) -> str:
    """One line that stands for itself in a log."""
    return f"batch {batch.id} {batch.state}: {', '.join(_counts(batch))}"


def _counts(batch: Batch) -> list[str]:
    troubles = [f"{n:,} {word}" for n, word in ((batch.failed, "failed"), (batch.skipped, "skipped")) if n]
    rate = [] if batch.rate is None else [f"{batch.rate:,.0f}/s"]
    left = batch.seconds_left
    time_left = [] if left is None else [f"{timedelta(seconds=round(left))} left"]
    if batch.state == BatchState.SCHEDULED and batch.send_at is not None:
        return [f"starts {batch.send_at.astimezone():%Y-%m-%d %H:%M:%S %Z}", f"{batch.total:,} recipients"]
    return [f"{batch.delivered:,} of {batch.total:,} delivered", *troubles, *rate, *time_left]
