"""The process behind service/api/parser.py: bodies on stdin, answers on stdout.

A body is two parts, its encoding and type as a pickle and then itself; an answer is one, a pickle. Before each part
stands its length.

The process ends when its stdin does, so with the gateway, however that ends. It ignores the signals by which a service
is stopped: the gateway may still have something to parse while it drains. The gateway and the database go first where
processors are scarce.
"""

import os
import pickle
import signal
import struct
import sys
import time
import traceback
from typing import Any, BinaryIO

from service.domain.encodings import Encoding, read_body
from service.domain.errors import Refusal

LENGTH = struct.Struct(">Q")
_NICENESS = 5


class ParserError(RuntimeError):
    """What the parser did not foresee, with its traceback as text: not every exception survives the way back."""


# An answer: parameters or why there are none, and the CPU seconds that it took.
Parsed = tuple[dict[str, Any] | Refusal | ParserError, float]


def _parse(encoding: Encoding, content_type: str, raw: bytes) -> Parsed:
    started = time.process_time()
    try:
        result: dict[str, Any] | Refusal | ParserError = read_body(encoding, content_type, raw)
    except Refusal as refusal:
        result = refusal
    except Exception as error:
        result = ParserError("".join(traceback.format_exception(error)))
    return result, time.process_time() - started


def _part(questions: BinaryIO) -> bytes | None:
    """None when the gateway has ended, be it in the middle of one."""
    head = questions.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    part = questions.read(length)
    return part if len(part) == length else None


def serve() -> None:
    """Answers one question after the other."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while (kind := _part(questions)) is not None and (raw := _part(questions)) is not None:
        encoding, content_type = pickle.loads(kind)  # noqa: S301 - written by the gateway
        answer = pickle.dumps(_parse(encoding, content_type, raw))
        try:
            answers.write(LENGTH.pack(len(answer)))
            answers.write(answer)
            answers.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody reads; an orderly exit would try to write the rest again
