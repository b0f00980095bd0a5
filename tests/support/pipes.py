"""Pipes to and from other processes, whichever way these are started."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO

_LONGEST_LINE = 1_000_000  # bytes


@asynccontextmanager
async def reading_pipe() -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """What another process writes, and the descriptor for it to write to, which closes here afterwards."""
    ours, theirs = os.pipe()
    try:
        reader = asyncio.StreamReader(_LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), FileIO(ours))
        yield reader, theirs
    finally:
        os.close(theirs)


@asynccontextmanager
async def writing_pipe(given: bytes) -> AsyncIterator[int]:
    """The descriptor from which another process reads what it is given; it closes here afterwards."""
    theirs, ours = os.pipe()
    try:
        transport, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, FileIO(ours, "w"))
        transport.write(given)
        transport.close()  # once it is written
        yield theirs
    finally:
        os.close(theirs)
