"""Bodies that are long are parsed in a process of their own.

Parsing one takes seconds, in which a thread beside the event loop would hold the interpreter again and again: on a
machine that is busy, for as long as others keep that thread from its processor.
"""

import asyncio
import os
import pickle
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Any, cast

import structlog

from service.api.parser_process import LENGTH, Parsed
from service.api.unavailable import Unavailable
from service.domain.encodings import Encoding

_BUFFER = 4_194_304  # bytes of a result that are taken at once
PATIENCE = 30.0  # seconds at least until the process is taken for stuck; it may have to start first

_PROGRAM = "from service.api.parser_process import serve; serve()"
# Python would look for modules in the current folder first, whoever may write there.
_SAME_MODULES = {
    "PYTHONSAFEPATH": "1",
    "PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path),
}

log = structlog.get_logger(__name__)


class Parser:
    """One process, which is started when there is something to parse, and ends with this one (parser_process.py)."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._turn = asyncio.Lock()
        self._process: Process | None = None

    async def parse(
        self, encoding: Encoding, content_type: str, raw: bytes | bytearray
    ) -> tuple[dict[str, Any], float]:
        """The parameters, and the CPU seconds that it took; waits for its turn.

        Raises the Refusal of service/domain/encodings.py, Unavailable when the process ends meanwhile, is stuck or
        cannot be started, and ParserError for what the parser did not foresee.
        """
        kind = pickle.dumps((encoding, content_type))
        await self._turn.acquire()
        # Who waits may be cancelled; what is under way still has to come to its end before the next may begin.
        exchange = asyncio.create_task(self._exchange(kind, raw))
        exchange.add_done_callback(lambda _: self._turn.release())
        result, seconds = await asyncio.shield(exchange)
        if isinstance(result, Exception):
            raise result
        return result, seconds

    async def _exchange(self, kind: bytes, raw: bytes | bytearray) -> Parsed:
        try:
            process = await self._running()
            async with asyncio.timeout(self._patience):
                return await _ask(process, kind, raw)
        except (OSError, EOFError, TimeoutError, RuntimeError) as error:  # uvloop's RuntimeError: the pipe is closed
            log.warning("parser_failed", error=repr(error))
            await self.close()
            raise Unavailable("the process that parses has ended, is stuck or cannot be started") from error

    async def _running(self) -> Process:
        if self._process is not None and self._process.returncode is not None:
            await self.close()  # it has ended since, as by the OOM killer
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _PROGRAM),
                stdin=PIPE,
                stdout=PIPE,
                limit=_BUFFER,
                env=os.environ | _SAME_MODULES,
                start_new_session=True,  # Ctrl-C is for the gateway
            )
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
    questions, answers = cast(StreamWriter, process.stdin), cast(StreamReader, process.stdout)  # both are pipes
    questions.write(b"".join((LENGTH.pack(len(kind)), kind, LENGTH.pack(len(raw)))))
    questions.write(raw)
    await questions.drain()
    (length,) = LENGTH.unpack(await answers.readexactly(LENGTH.size))
    parsed: Parsed = pickle.loads(await answers.readexactly(length))  # noqa: S301 - written by our own process
    return parsed
