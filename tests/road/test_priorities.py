"""Who goes first where processors are scarce."""

import os

from tests.support.processes import Installation, Process

LOWEST = 19


def niceness(process: Process) -> int:
    return os.getpriority(os.PRIO_PROCESS, process.pid)


async def test_a_gateway_goes_before_the_workers_of_its_machine(running: Installation) -> None:
    """With equal rights everybody waits for seconds while a big send is written and its events are published."""
    running.fresh = True
    gateway, worker = await running.api(), await running.worker()
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert (niceness(gateway), niceness(worker)) == (ours, min(ours + 10, LOWEST))
