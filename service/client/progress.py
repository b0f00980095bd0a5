"""A batch's progress for people: a live bar on a terminal, plain lines in a pipe."""

import asyncio
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from service.client.http import Client, Progress

_FASTEST, _SLOWEST = 0.05, 0.5  # seconds between two looks: quick at first, for sends that take no time
_LINE_EVERY = 2.0  # seconds between two lines in a pipe


async def follow(client: Client, batch_id: int, console: Console) -> Progress:
    """Show the batch until it ends, and return its last state. RequestFailed when the service stays away."""
    if console.is_terminal:
        return await _bar(client, batch_id, console)
    return await _lines(client, batch_id, console)


async def _bar(client: Client, batch_id: int, console: Console) -> Progress:
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
        console=console,
    )
    pause = _FASTEST
    with bar:
        task = bar.add_task(f"batch {batch_id}", total=None, rate=0.0)
        while True:
            now = await client.progress(batch_id)
            bar.update(task, total=now.total, completed=now.done, rate=now.rate)
            if now.ended:
                return now
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, _SLOWEST)


async def _lines(client: Client, batch_id: int, console: Console) -> Progress:
    pause, due = _FASTEST, 0.0
    while True:
        now = await client.progress(batch_id)
        if now.ended or time.monotonic() >= due:
            console.print(line(now), highlight=False, soft_wrap=True)
            due = time.monotonic() + _LINE_EVERY
        if now.ended:
            return now
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, _SLOWEST)


def line(now: Progress) -> str:
    """One line that stands for itself in a log."""
    troubles = [f"{n:,} {word}" for n, word in ((now.failed, "failed"), (now.skipped, "skipped")) if n]
    parts = [f"{now.delivered:,} of {now.total:,} delivered", *troubles, f"{now.rate:,.0f}/s"]
    return f"batch {now.id} {now.state}: {', '.join(parts)}"
