"""The ``clarion`` command, run as a user runs it, to its end."""

import asyncio
import os
import pty
import signal
from collections.abc import Collection
from typing import NamedTuple

from service.runtime.settings import Settings
from tests.support.fork_server import start_clarion
from tests.support.pipes import reading_pipe, writing_pipe
from tests.support.processes import environment
from tests.support.waiting import PATIENCE


class Outcome(NamedTuple):
    """What the caller of a command sees."""

    code: int
    out: str
    err: str


async def clarion(
    settings: Settings,
    *arguments: str,
    stdin: bytes = b"",
    without: Collection[str] = (),
    fresh: bool = False,
    **variables: str,
) -> Outcome:
    """Run ``clarion`` with these settings and arguments, with more variables or without some."""
    known = environment(settings, **variables)
    env = {name: value for name, value in known.items() if name not in without}
    async with reading_pipe() as (out, stdout), reading_pipe() as (err, stderr), writing_pipe(stdin) as given:
        process = await start_clarion(arguments, env, fresh=fresh, stdin=given, stdout=stdout, stderr=stderr)
    said = await asyncio.gather(out.read(), err.read())
    return Outcome(await process.wait(), *(text.decode() for text in said))


class OnTerminal:
    """The command with a terminal of 120 columns, as a person runs it."""

    def __init__(self, settings: Settings, *arguments: str, **variables: str) -> None:
        self._arguments = arguments
        self._environment = environment(settings, TERM="xterm", COLUMNS="120", LINES="40", **variables)
        self._ours, self._theirs = pty.openpty()
        self.shown = ""

    async def start(self) -> None:
        """Begin."""
        self._process = await start_clarion(
            self._arguments,
            self._environment,
            fresh=True,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
        )
        os.close(self._theirs)

    async def shows(self, text: str) -> None:
        """Returns when the text is on the terminal."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.shown:
                assert await self._read(), self.shown

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    async def end(self) -> int:
        """The exit status; ``shown`` is whole then."""
        while await self._read():
            pass
        os.close(self._ours)
        return await self._process.wait()

    async def _read(self) -> bool:
        try:
            block = await asyncio.to_thread(os.read, self._ours, 65536)
        except OSError:  # how Linux says that it is the end
            return False
        self.shown += block.decode("utf-8", "replace")
        return bool(block)
