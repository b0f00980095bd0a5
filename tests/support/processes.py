"""Clarion's own processes, as an operator runs them, for tests of the whole road."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from service.runtime.settings import Settings
from tests.support.fork_server import Running, start_clarion
from tests.support.pipes import reading_pipe
from tests.support.waiting import PATIENCE
from workers.process import WORKERS

# Of a worker: one for each consumer (audit and retention ask only the database), one for commands, one for answers.
CONNECTIONS = len(WORKERS.keys() - {"audit", "retention"}) + 2


def free_port() -> int:
    """A loopback port on which no process listens right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The settings as environment variables."""
    named = {
        f"CLARION_{name.upper()}": str(value)
        for name, value in settings.model_dump().items()
        if value not in ("", None)
    }
    return os.environ | named | more


class Process:
    """One running ``clarion`` command. Its log goes to ``lines`` as it is written."""

    def __init__(self, arguments: Sequence[str], env: dict[str, str], *, fresh: bool = False) -> None:
        self._arguments = arguments
        self._env = env
        self._fresh = fresh
        self._reader: asyncio.Task[None] | None = None
        self._process: Running | None = None
        self._seen = asyncio.Condition()
        self.lines: list[str] = []

    async def start(self) -> None:
        """Begin; returns before the process is ready."""
        async with reading_pipe() as (log, written):
            self._process = await start_clarion(self._arguments, self._env, fresh=self._fresh, stderr=written)
        self._reader = asyncio.create_task(self._read(log))

    async def _read(self, log: asyncio.StreamReader) -> None:
        async for line in log:
            async with self._seen:
                self.lines.append(line.decode())
                self._seen.notify_all()

    async def logged(self, text: str, *, times: int = 1) -> None:
        """Returns when that many log lines with ``text`` have been written; TimeoutError has the last lines."""
        try:
            async with asyncio.timeout(PATIENCE), self._seen:
                await self._seen.wait_for(lambda: sum(text in line for line in self.lines) >= times)
        except TimeoutError:
            last = "".join(self.lines[-20:])
            raise TimeoutError(f"not {times} lines with {text!r} in {PATIENCE} s; the last ones:\n{last}") from None

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit status. A second call changes nothing."""
        assert self._process is not None
        assert self._reader is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        status = await self._process.wait()
        await self._reader
        return status

    async def end(self) -> int:
        """Wait for the end of a command that does its work and ends; the exit status."""
        assert self._process is not None
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal that does not end it."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid


class Installation:
    """An API and workers with a database and a broker prefix of their own.

    With ``fresh`` its processes are started as an operator does it (fork_server.py).
    """

    def __init__(self, settings: Settings, *, fresh: bool = False) -> None:
        self.settings = settings.model_copy(update={"port": free_port()})
        self.fresh = fresh
        self.processes: list[Process] = []
        self.url = f"http://127.0.0.1:{self.settings.port}"

    async def start(self, *arguments: str, **env: str) -> Process:
        """Start one more process of this installation."""
        process = Process(arguments, environment(self.settings, **env), fresh=self.fresh)
        await process.start()
        self.processes.append(process)
        return process

    async def api(self, **env: str) -> Process:
        """Start the gateway; returns when it listens and has found the broker."""
        process = await self.start("api", **env)
        await process.logged("api_started")
        await process.logged("broker_connected")
        return process

    async def worker(self, **env: str) -> Process:
        """Start a worker; returns when it consumes, and can publish commands and answers."""
        process = await self.start("worker", **env)
        await process.logged("broker_connected", times=CONNECTIONS)
        return process

    async def close(self) -> None:
        """Stop whatever still runs, the hard way."""
        for process in self.processes:
            await process.stop(signal.SIGKILL)


@asynccontextmanager
async def installation(settings: Settings, *, fresh: bool = False) -> AsyncIterator[Installation]:
    """An installation that is gone afterwards."""
    made = Installation(settings, fresh=fresh)
    try:
        yield made
    finally:
        await made.close()


class Client:
    """A user of the HTTP API."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    def at(self, url: str) -> "Client":
        """The same user at another gateway."""
        return Client(self._session, url, self._headers["Authorization"].removeprefix("Bearer "))

    async def call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **parameters: Any
    ) -> tuple[int, Any, Any]:
        """(status, body, headers) of one request; ``parameters`` go to aiohttp."""
        async with self._session.request(
            method, f"{self._url}/api/v1{path}", headers=self._headers | dict(headers or {}), **parameters
        ) as response:
            return response.status, await response.json(), response.headers

    async def metrics(self) -> str:
        """The gateway's figures, as Prometheus reads them."""
        async with self._session.get(f"{self._url}/metrics") as response:
            assert response.status == 200
            return await response.text()

    async def sent(self, batch_id: int | str) -> dict[str, Any]:
        """The batch once it has come to an end, asked for over and over as a client would."""
        async with asyncio.timeout(PATIENCE):
            while True:
                status, body, _ = await self.call("GET", f"/conversations/batches/{batch_id}")
                assert status == 200, body
                if body["workflow_state"] in ("sent", "error", "cancelled"):
                    found: dict[str, Any] = body
                    return found
