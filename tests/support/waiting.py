"""Waiting for what comes when it comes: nothing here says how fast the machine is."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

# Seconds after which a wait fails, so that the test says what it waited for. Far more than anything takes on a slow and
# busy machine, and less than a whole test may take (pyproject.toml).
PATIENCE = 120.0
LOOK_AGAIN = 0.02  # seconds


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Returns when the condition holds, of which there is no signal."""
    async with asyncio.timeout(PATIENCE):
        while True:
            held = condition()
            if await held if inspect.isawaitable(held) else held:
                return
            await asyncio.sleep(LOOK_AGAIN)


async def listens(port: int) -> bool:
    """Whether a process accepts connections on that port of the loopback."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
