"""What is wrong with lines of files, said line by line as far as a person reads on."""

from collections.abc import Callable
from dataclasses import dataclass

import typer

# A file of the wrong kind has as many bad lines as it has lines.
MOST_COMPLAINTS = 100


@dataclass
class Complaints:
    """``noun``: what is bad. ``say`` writes one line."""

    noun: str
    count: int = 0
    say: Callable[[str], None] = typer.echo

    def add(self, place: str, reason: str) -> None:
        """Reports one that does not count, but for those beyond MOST_COMPLAINTS."""
        self.count += 1
        if self.count <= MOST_COMPLAINTS:
            self.say(f"{place}: {reason}")

    def close(self) -> None:
        """Says how many were not shown."""
        if self.count > MOST_COMPLAINTS:
            typer.echo(f"{self.count - MOST_COMPLAINTS:,} more {self.noun} are not shown", err=True)
