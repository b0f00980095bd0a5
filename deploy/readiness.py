"""Waits until a process of Clarion's says that it is ready."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import aiohttp

WITHIN = 60.0  # seconds
_POLL = 0.1  # seconds; a port that opens is no signal to other processes
_ANSWER = 5.0  # seconds


async def until_ready(url: str, *, ended: Callable[[], bool]) -> str:
    """What ``/readyz`` below the URL says with its 200.

    TimeoutError has the last answer when there is none within ``WITHIN``, or when ``ended`` says that none will come.
    """
    deadline = asyncio.get_running_loop().time() + WITHIN
    said = "no answer"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER)) as session:
        while not ended() and asyncio.get_running_loop().time() < deadline:
            try:
                async with session.get(f"{url}/readyz") as response:
                    said = " ".join((await response.text()).split())
                    if response.status == HTTPStatus.OK:
                        return said
            except (aiohttp.ClientError, TimeoutError) as error:
                said = str(error) or "no answer in time"
            await asyncio.sleep(_POLL)
    raise TimeoutError(said)
