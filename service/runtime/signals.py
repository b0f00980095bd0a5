"""Signals that stop a process."""

import asyncio
import signal


def stop_event() -> asyncio.Event:
    """Set on SIGTERM and SIGINT, for the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
