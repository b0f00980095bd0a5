"""What ``deploy/test`` runs in the checkout's environment: the checks, then pytest on real servers."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from deploy.environment import STATE
from deploy.failure import CannotRun
from deploy.lifetime import run_until_stopped
from deploy.processes import Group
from deploy.servers import servers
from tests.support.ledger import FOLDER, remove_left

_SOURCES = ("deploy", "service", "sql", "tests", "workers")
CHECKS = (
    ("ruff", "format", "--check", "--quiet", *_SOURCES),
    ("ruff", "check", "--quiet", *_SOURCES),
    ("mypy",),
    ("lint-imports",),
)
# What tests are told (tests/README.md).
OF_TESTS = (
    "CLARION_GOLDEN",
    "CLARION_FAULT_SEED",
    "CLARION_MOVE_ROUNDS",
    "CLARION_CLUSTER_ROUNDS",
    "CLARION_UPGRADE_FROM",
    "CLARION_TEST_TIMES",
)
# Three test processes for two cores, since a test often waits for a server; each begins with its share of the slow ones
# (tests/support/order.py), and a process that has none left takes over from the others.
_IN_PARALLEL = ("-n", "3", "--dist", "worksteal")


async def test(arguments: list[str]) -> int:
    """The exit status of pytest; CannotRun when a check finds something.

    With arguments only pytest runs, with these.
    """
    if not arguments:
        await _check()
    async with servers(STATE) as found:
        if left := await remove_left(FOLDER, found.environment()):
            print(f"Removed what killed tests had left: {len(left)} databases, queues and servers", flush=True)
        # Settings of the caller's own installation are no business of the tests.
        own = {name: it for name, it in os.environ.items() if name in OF_TESTS or not name.startswith("CLARION_")}
        # Without files of bytecode each test process, and each that it starts, would compile every module again.
        own.pop("PYTHONDONTWRITEBYTECODE", None)
        return await _call(
            [sys.executable, "-m", "pytest", *(arguments or _IN_PARALLEL)],
            own | found.environment(),
        )


async def _check() -> None:
    found = [" ".join(check[:2]) for check in CHECKS if await _call(list(check), dict(os.environ))]
    if found:
        raise CannotRun(f"the tests were not run, because these checks failed, see above: {', '.join(found)}")


async def _call(command: list[str], environment: dict[str, str]) -> int:
    """Run it to its end; when this script is stopped meanwhile, as by Ctrl-C, it is stopped first."""
    group = Group(STATE / "runs")
    process = group.start(Path(command[0]).name, command, environment, log=False)
    try:
        return await asyncio.to_thread(process.wait)
    finally:
        await asyncio.to_thread(group.stop, signal.SIGINT)


if __name__ == "__main__":
    run_until_stopped("test", test(sys.argv[1:]))
