"""The process behind service/api/parser.py: bodies on stdin, answers on stdout.

A body is two parts, its encoding and type as a pickle and then itself; an answer is one, a pickle. Before each part
stands its length.

The process ends when its stdin does, so with the gateway, however that ends. Signals to the whole group leave it alone:
the gateway may still have something to parse while it drains. The gateway and the database go first where processors
are scarce.
"""

import os
import pickle
import signal
import struct
import sys
import time
from typing import Any

from service.domain.encodings import Encoding, read_body
from service.domain.errors import Refusal

LENGTH = struct.Struct(">Q")
_NICENESS = 5


# An answer: parameters or why there are none, and the CPU seconds that it took.
Parsed = tuple[dict[str, Any] | Refusal, float]


def _parse(encoding: Encoding, content_type: str, raw: bytes) -> Parsed:
    started = time.process_time()
    try:
        result: dict[str, Any] | Refusal = read_body(encoding, content_type, raw)
    except Refusal as refusal:
        result = refusal
    return result, time.process_time() - started


def serve() -> None:
    """Answers one question after the other."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while length := questions.read(LENGTH.size):
        encoding, content_type = pickle.loads(questions.read(*LENGTH.unpack(length)))  # noqa: S301 - of the gateway
        raw = questions.read(*LENGTH.unpack(questions.read(LENGTH.size)))
        answer = pickle.dumps(_parse(encoding, content_type, raw))
        answers.write(LENGTH.pack(len(answer)))
        answers.write(answer)
        answers.flush()


if __name__ == "__main__":
    serve()
