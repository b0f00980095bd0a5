"""The order in which test processes take the tests."""

from collections.abc import Sequence
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
# Their tests start and end processes and servers: seconds each, where others take milliseconds.
_SLOW = ("faults", "road", "bench", "cli", "deploy")


def folder_of(item: pytest.Item) -> str:
    """The folder of ``tests`` in which a test stands."""
    return item.path.relative_to(_TESTS).parts[0]


def dealt(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """An equal stretch for each process, which begins with its share of the slow tests.

    pytest-xdist cuts the list in as many stretches and lets a process that has none left take over from the others:
    a slow test that began last would run on alone.
    """
    slow = sorted((item for item in items if folder_of(item) in _SLOW), key=lambda item: _SLOW.index(folder_of(item)))
    quick = [item for item in items if folder_of(item) not in _SLOW]
    cuts = [len(quick) * process // processes for process in range(processes + 1)]
    order: list[pytest.Item] = []
    for process in range(processes):
        order += slow[process::processes]
        order += quick[cuts[process] : cuts[process + 1]]
    return order
