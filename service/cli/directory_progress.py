"""How far a load has come, on stderr: a bar on a terminal, a line now and then in a pipe."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY = 5.0  # seconds


class LoadProgress:
    """A context manager. ``size``: bytes of all files together; None where that is not known."""

    def __init__(self, console: Console, size: int | None, *, line_every: float = LINE_EVERY) -> None:
        self._console = console
        self._size = size
        self._line_every = line_every
        self._begin = self._spoke = time.monotonic()
        self._before = 0  # bytes of the files that are done
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[events]:,} events"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("loading", total=size, events=0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, read: int, events: int, bad: int) -> None:
        """``read``: bytes of the present file. Every few seconds it becomes a line, where there is no bar."""
        done = self._before + read
        self._bar.update(self._task, completed=done, events=events)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoke >= self._line_every:
            self._spoke = now
            share = f"{done / self._size:.0%}, " if self._size else ""
            self.say(f"{share}{events:,} events, {bad:,} bad lines, {events / (now - self._begin):,.0f} events/s")

    def next_file(self, read: int) -> None:
        """The present file has ended, after so many bytes."""
        self._before += read

    def say(self, text: str) -> None:
        """A line of text, above the bar."""
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
