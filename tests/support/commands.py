"""The ``clarion`` command, run as a user runs it, to its end."""

import asyncio
import sys
from typing import NamedTuple

from service.runtime.settings import Settings
from tests.support.processes import environment


class Outcome(NamedTuple):
    """What the caller of a command sees."""

    code: int
    out: str
    err: str


async def clarion(settings: Settings, *arguments: str, stdin: bytes = b"") -> Outcome:
    """Run ``python -m service`` with these settings and arguments."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "service", *arguments),
        env=environment(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())
