"""The files of ``clarion directory load``: plain or gzip, with or without a byte order mark, or standard input."""

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import cast

from service.cli.failure import Failed
from service.cli.stdin import STDIN, standard_input

_GZIP = b"\x1f\x8b"


class DirectoryFile:
    """The text of a file, whatever it is wrapped in."""

    def __init__(self, path: str, stored: BufferedReader) -> None:
        self._name = "stdin" if path == STDIN else path
        self._stored = stored
        compressed = stored.peek(len(_GZIP)).startswith(_GZIP)
        self._text = gzip.GzipFile(fileobj=stored) if compressed else stored
        self._at_the_beginning = True

    @property
    def read_so_far(self) -> int:
        """Bytes of the file as it is stored; 0 where that cannot be known."""
        return self._stored.tell() if self._stored.seekable() else 0

    def read1(self, size: int, /) -> bytes:
        """The next bytes of the text, without a byte order mark; none at the end. Failed when it cannot be unpacked."""
        try:
            block = self._text.read1(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Failed(f"{self._name}: cannot be unpacked to its end: {error}") from None
        if self._at_the_beginning:
            self._at_the_beginning = False
            # A block can be short, and still it is longer than the mark: a pipe hands over what was written at once.
            return block.removeprefix(BOM_UTF8) or (self._text.read1(size) if block else b"")
        return block


@contextmanager
def opened(path: str) -> Iterator[DirectoryFile]:
    """The file of that name, open during the block."""
    if path == STDIN:
        yield DirectoryFile(path, cast(BufferedReader, standard_input().buffer))
        return
    with Path(path).open("rb") as stored:
        yield DirectoryFile(path, stored)
