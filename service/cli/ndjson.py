"""Lines of files of any size, in bounded memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from service.contracts.directory import MAX_EVENT_BYTES

_BLOCK_BYTES = 1 << 18


class Readable(Protocol):
    """A file, as far as it is needed here."""

    def read1(self, size: int, /) -> bytes:
        """What is there, but not more bytes than that; nothing at the end."""


async def blocks_of_lines(file: Readable) -> AsyncIterator[list[bytes]]:
    """The lines of a file, without their ends, in blocks; other tasks run while the next block is read.

    A line of more than MAX_EVENT_BYTES comes shortened, but still longer than that.
    """
    rest = b""
    while block := await asyncio.to_thread(file.read1, _BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        rest = rest[: MAX_EVENT_BYTES + 1]
        if lines:
            yield lines
    if rest:
        yield [rest]
