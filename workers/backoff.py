"""Pauses between attempts while something outside is away, which end early when going on has lost its point."""

import asyncio
from collections.abc import Iterator

FIRST_RETRY, LAST_RETRY = 0.1, 5.0  # seconds between attempts


def pauses(first: float = FIRST_RETRY) -> Iterator[float]:
    """Seconds between attempts, without end: each pause is twice the one before, LAST_RETRY at most."""
    pause = first
    while True:
        yield pause
        pause = min(pause * 2, LAST_RETRY)


async def one_of(*events: asyncio.Event, within: float | None = None) -> bool:
    """Waits until one of the events is set; False when ``within`` seconds have passed before."""
    if any(event.is_set() for event in events):
        return True
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)
