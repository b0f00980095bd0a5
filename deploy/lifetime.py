"""How the scripts end: done, failed with one line, or stopped by a signal after cleaning up."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, TextIO

import asyncpg

from deploy.failure import CannotRun
from deploy.signals import STOPPING, hold, ignored, release, waiting
from service.client.failures import RequestFailed

_FAILURES = (CannotRun, RequestFailed, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def run_until_stopped(script: str, work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run to the end and exit with its status.

    A signal that came while the script was loaded (deploy/signals.py) ends it before the work begins. The first one
    after that cancels the work; more of them do not disturb its cleaning up. Neither does a terminal that has gone, on
    which every word fails.
    """
    for early in waiting():
        work.close()
        raise SystemExit(128 + early)
    received: list[signal.Signals] = []

    async def supervised() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)

        def stop(number: signal.Signals) -> None:
            received.append(number)
            if len(received) == 1:
                task.cancel()
                _say(f"\ndeploy/{script}: stopping")

        for number in STOPPING:
            if not ignored(number):
                loop.add_signal_handler(number, stop, number)
        release()
        try:
            return await task
        finally:
            hold()

    try:
        status = asyncio.run(supervised())
    except asyncio.CancelledError:
        status = 128 + received[0]
    except _FAILURES as error:
        _say(f"deploy/{script}: {error or type(error).__name__}")
        status = 128 + received[0] if received else 1
    _let_go_of_a_dead_terminal()
    raise SystemExit(status)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _let_go_of_a_dead_terminal() -> None:
    """Drops what could not be said: Python would try it once more at its end, and make the failure the status."""
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in filter(None, streams):  # a script that begins without an output has none
        try:
            stream.flush()
        except OSError:
            with Path(os.devnull).open("w", encoding="utf-8") as nothing:
                os.dup2(nothing.fileno(), stream.fileno())
