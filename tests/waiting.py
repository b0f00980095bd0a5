"""Waiting for a state that nobody signals."""

import asyncio
from collections.abc import Callable

LOOK_AGAIN = 0.01  # seconds


async def until(condition: Callable[[], bool], *, within: float = 20) -> None:
    """Returns when the condition holds."""
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(LOOK_AGAIN)
