"""Clarion's own processes: one API and two workers, started from the checkout and watched."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from deploy.environment import CHECKOUT
from deploy.failure import CannotRun
from deploy.ports import reserved_port
from deploy.processes import Group, last_line
from deploy.readiness import WITHIN, until_ready
from deploy.servers import Servers

T = TypeVar("T")
_WORKERS = 2
_POLL_INTERVAL = 0.5  # seconds
_DEFAULT_PORT = 8080


class Stack:
    """An async context manager; what it started ends with it."""

    def __init__(self, runs: Path, servers: Servers) -> None:
        self._servers = servers
        self._group = Group(runs)
        # No balancer has to notice that it stops.
        self._environment = {"CLARION_DRAIN_DELAY": "0", **os.environ, **servers.environment()}
        self._told: set[str] = set()
        self._ports = ExitStack()

    async def __aenter__(self) -> Self:
        if "CLARION_PORT" not in self._environment:
            # 8080 is only a default: it may be in use, for example by a second checkout.
            self._environment["CLARION_PORT"] = str(self._ports.enter_context(reserved_port(_DEFAULT_PORT)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._group.stop)
        self._ports.close()

    @property
    def database_url(self) -> str:
        """Where the service keeps its data."""
        return self._servers.database_url

    @property
    def url(self) -> str:
        """Where the API answers on this machine."""
        host = self._environment.get("CLARION_HOST", "127.0.0.1")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._environment['CLARION_PORT']}"

    @property
    def logs(self) -> Path:
        """The folder in which every process has its log."""
        return self._group.folder

    async def clarion(self, *arguments: str) -> str:
        """Run one command of the service to its end; what it printed, or CannotRun with its complaint."""
        return await self.python("-m", "service", *arguments)

    async def python(self, *arguments: str) -> str:
        """Run the environment's Python to its end; what it printed, or CannotRun with its complaint."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=CHECKOUT,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            printed, complained = await process.communicate()
        except asyncio.CancelledError:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            reason = (complained.decode("utf-8", "replace").strip() or "no reason given").splitlines()[-1]
            raise CannotRun(f"{' '.join(arguments[:4])}: {reason}")
        return printed.decode("utf-8")

    async def serve(self) -> None:
        """Start the API and the workers; returns when /readyz says so."""
        self._start("api", "api")
        for number in range(1, _WORKERS + 1):
            self._start(f"worker-{number}", "worker")
        try:
            await until_ready(self.url, ended=lambda: bool(self._group.ended()))
        except TimeoutError as error:
            for name in self._group.ended():
                raise CannotRun(f"{self._how_it_ended(name)}: {last_line(self._group.log(name))}") from None
            raise CannotRun(f"the service is not ready after {WITHIN:.0f} s: {error} (logs: {self.logs})") from None

    async def while_serving(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work; CannotRun if the service dies first."""
        task, watch = asyncio.ensure_future(work), asyncio.ensure_future(self.watch())
        try:
            await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                watch.result()
            return await task
        finally:
            for each in (task, watch):
                each.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def watch(self) -> None:
        """Say which part has ended; CannotRun when what is left cannot serve. Nothing is started again."""
        while True:
            for server in self._servers.ended():
                raise CannotRun(f"the private {server.name} has ended: {last_line(server.log)} (log: {server.log})")
            ended = self._group.ended()
            for name in sorted(ended.keys() - self._told):
                self._told.add(name)
                print(f"deploy/run: {self._how_it_ended(name)}", file=sys.stderr, flush=True)
            left = self._group.started.keys() - ended.keys()
            if "api" not in left or left == {"api"}:
                raise CannotRun(f"without {'a worker' if 'api' in left else 'the API'} there is nothing to go on with")
            await asyncio.sleep(_POLL_INTERVAL)

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        """One that serve() has started: api, worker-1, worker-2."""
        return self._group.started[name]

    def _start(self, name: str, *arguments: str) -> None:
        self._group.start(name, [sys.executable, "-m", "service", *arguments], self._environment)

    def _how_it_ended(self, name: str) -> str:
        status = self._group.ended()[name]
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{name} {how} (log: {self._group.log(name)})"
