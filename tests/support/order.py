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
    a slow test that began last would run on alone. The first process has all that need a broker of their own
    (tests/faults/conftest.py), the last one those in a browser (tests/road/test_console.py), so that only one of each
    is started.
    """
    slow = sorted((item for item in items if folder_of(item) in _SLOW), key=lambda item: _SLOW.index(folder_of(item)))
    brokers = [item for item in slow if _needs(item, "server")]
    browsers = [item for item in slow if _needs(item, "console")]
    others = [item for item in slow if item not in brokers and item not in browsers]
    quick = [item for item in items if folder_of(item) not in _SLOW]
    order: list[pytest.Item] = []
    for process in range(processes):
        shared = brokers * (process == 0) + browsers * (process == processes - 1)
        first = shared + others[process::processes]
        rest = (len(items) - len(order)) // (processes - process) - len(first)
        order += first + quick[: max(0, rest)]
        del quick[: max(0, rest)]
    return order


def _needs(item: pytest.Item, fixture: str) -> bool:
    return isinstance(item, pytest.Function) and fixture in item.fixturenames
