"""Waiting for a state of which there is no signal."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

LOOK_AGAIN = 0.02  # seconds


async def until(condition: Callable[[], bool | Awaitable[bool]], *, within: float = 20) -> None:
    """Returns when the condition holds."""
    async with asyncio.timeout(within):
        while True:
            held = condition()
            if await held if inspect.isawaitable(held) else held:
                return
            await asyncio.sleep(LOOK_AGAIN)
