"""Processes of ``clarion`` that need not import it, which is most of what a start costs.

A process that has imported everything forks itself for each command: ``multiprocessing``'s fork server, one for each
test process. What comes of it is a process like any other, with an id, an environment and an end of its own.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from service.__main__ import main
from tests.support.ledger import ledger

_COMMANDS = Path(__file__).parents[2] / "service" / "cli"

_context = get_context("forkserver")
_context.set_forkserver_preload([*(f"service.cli.{file.stem}" for file in _COMMANDS.glob("*.py")), __name__])


class Running(Protocol):
    """A process, whichever way it was started."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, signal: int, /) -> None: ...

    async def wait(self) -> int: ...


async def start_clarion(
    arguments: Sequence[str],
    environment: dict[str, str],
    *,
    fresh: bool = False,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Running:
    """Starts ``clarion``; ``fresh`` as an operator's shell does, ``python -m service``, which imports everything anew.

    The files are descriptors, which stay the caller's; without, it has the caller's own.
    """
    if fresh:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "service", *arguments),
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
    ledger()  # its name is in the server's environment, by which the next run finds what this one leaves
    forked = _Forked(arguments, environment, {0: stdin, 1: stdout, 2: stderr})
    await forked.start()
    return forked


class _Forked:
    def __init__(self, arguments: Sequence[str], environment: dict[str, str], files: Mapping[int, int | None]) -> None:
        # A connection is what multiprocessing hands to another process; these only carry the descriptors.
        self._files = {number: Connection(os.dup(fd)) for number, fd in files.items() if fd is not None}
        self._process = _context.Process(target=_run, args=(list(arguments), environment, self._files), daemon=True)
        self._ended = asyncio.Event()

    async def start(self) -> None:
        await asyncio.to_thread(self._process.start)
        for connection in self._files.values():
            connection.close()
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.Signals(number))

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


def _run(arguments: list[str], environment: dict[str, str], files: dict[int, Connection]) -> None:
    """In the process that the server has forked."""
    for number, connection in files.items():
        os.dup2(connection.fileno(), number)
        connection.close()
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    # As Python makes them when it starts.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.argv = ["clarion", *arguments]
    main()
