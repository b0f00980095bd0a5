"""Bodies that are long are parsed in a process of their own.

Parsing one takes seconds, in which a thread beside the event loop would hold the interpreter again and again: on a
machine that is busy, for as long as others keep that thread from its processor.
"""

import asyncio
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Any

import structlog

from service.api.parser_process import LENGTH, Parsed
from service.api.unavailable import Unavailable
from service.domain.encodings import Encoding
from service.domain.errors import Refusal

_BUFFER = 4_194_304  # bytes of a result that are taken at once

log = structlog.get_logger(__name__)


class Parser:
    """One process, which is started when there is something to parse, and ends with this one (parser_process.py)."""

    def __init__(self, patience: float) -> None:
        self._patience = patience  # seconds after which the process is taken for stuck
        self._turn = asyncio.Lock()
        self._process: Process | None = None

    async def parse(
        self, encoding: Encoding, content_type: str, raw: bytes | bytearray
    ) -> tuple[dict[str, Any], float]:
        """The parameters, and the CPU seconds that it took; waits for its turn.

        Raises the Refusal of service/domain/encodings.py, and Unavailable when the process has ended or is stuck.
        """
        await self._turn.acquire()
        # Who waits may be cancelled; what is under way still has to come to its end before the next may begin.
        exchange = asyncio.create_task(self._exchange(pickle.dumps((encoding, content_type)), raw))
        exchange.add_done_callback(lambda _: self._turn.release())
        result, seconds = await asyncio.shield(exchange)
        if isinstance(result, Refusal):
            raise result
        return result, seconds

    async def _exchange(self, kind: bytes, raw: bytes | bytearray) -> Parsed:
        try:
            process = await self._running()
            async with asyncio.timeout(self._patience):
                return await _ask(process, kind, raw)
        except (OSError, EOFError, TimeoutError) as error:
            log.warning("parser_ended", error=repr(error))
            await self.close()
            raise Unavailable("the process that parses has ended") from error

    async def _running(self) -> Process:
        if self._process is None:
            command = (sys.executable, "-m", "service.api.parser_process")
            self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_BUFFER)
            log.info("parser_started", pid=self._process.pid)
        return self._process

    async def close(self) -> None:
        """Ends the process; another is started when there is something to parse again."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _ask(process: Process, kind: bytes, raw: bytes | bytearray) -> Parsed:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(b"".join((LENGTH.pack(len(kind)), kind, LENGTH.pack(len(raw)))))
    process.stdin.write(raw)
    await process.stdin.drain()
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    parsed: Parsed = pickle.loads(await process.stdout.readexactly(length))  # noqa: S301 - written by our own process
    return parsed
