"""What a request costs: its CPU seconds and its database seconds (canvas/conventions.md 11)."""

import time
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from aiohttp import web

Result = TypeVar("Result")


class Meter:
    """The running cost of one request."""

    __slots__ = ("_cpu", "_step_started", "database")

    def __init__(self) -> None:
        self._cpu = 0.0
        self._step_started: float | None = None
        self.database = 0.0  # seconds spent waiting while holding a connection

    @property
    def cpu(self) -> float:
        """CPU seconds of the request's own steps so far, the present one included."""
        if self._step_started is None:
            return self._cpu
        return self._cpu + time.thread_time() - self._step_started

    def add(self, seconds: float) -> None:
        """CPU seconds that another process has spent on the request."""
        self._cpu += seconds

    @property
    def cost(self) -> float:
        """What X-Request-Cost says."""
        return self.cpu + self.database

    def start_step(self) -> None:
        """The event loop has given the request its turn."""
        self._step_started = time.thread_time()

    def end_step(self) -> None:
        """The request waits, or is done."""
        self._cpu = self.cpu
        self._step_started = None


METER: web.RequestKey[Meter] = web.RequestKey("meter")


@types.coroutine
def metered(work: Coroutine[Any, Any, Result], meter: Meter) -> Generator[Any, Any, Result]:
    """Await ``work`` and count the CPU time of its own steps, not of what the event loop does in between."""
    value: Any = None
    thrown: BaseException | None = None
    while True:
        meter.start_step()
        try:
            waited = work.send(value) if thrown is None else work.throw(thrown)
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            meter.end_step()
        value, thrown = None, None
        try:
            value = yield waited
        except BaseException as error:  # cancellation included: it belongs to the work, not to the meter
            thrown = error
