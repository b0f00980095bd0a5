"""How far a load has come, on stderr: a bar on a terminal, a line now and then in a pipe."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY = 5.0  # seconds


class LoadProgress:
    """A context manager. ``size``: bytes of all files together; None where that is not known.

    ``noun`` and ``bad``: what is loaded, and what of it does not count.
    """

    def __init__(
        self, console: Console, size: int | None, noun: str, bad: str, *, line_every: float = LINE_EVERY
    ) -> None:
        self._console = console
        self._noun = noun
        self._bad = bad
        self._size = size
        self._line_every = line_every
        self._begin = self._spoke = time.monotonic()
        self._before = 0  # bytes of the files that are done
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[done]:,} " + noun),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("loading", total=size, done=0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, read: int, loaded: int, bad: int) -> None:
        """``read``: bytes of the present file. Every few seconds it becomes a line, where there is no bar."""
        done = self._before + read
        self._bar.update(self._task, completed=done, done=loaded)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoke >= self._line_every:
            self._spoke = now
            share = f"{done / self._size:.0%}, " if self._size else ""
            rate = loaded / (now - self._begin)
            self.say(f"{share}{loaded:,} {self._noun}, {bad:,} {self._bad}, {rate:,.0f} {self._noun}/s")

    def next_file(self, read: int) -> None:
        """The present file has ended, after so many bytes."""
        self._before += read

    def say(self, text: str) -> None:
        """A line of text, above the bar."""
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
