"""What a script has started ends with it, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.binaries import find_postgres
from deploy.locks import held
from deploy.orphans import end_everything, end_orphans
from tests.support.private_servers import open_folder
from tests.support.waiting import PATIENCE, until

_SCRIPT = """
import asyncio, os, sys
from pathlib import Path
from deploy.lifetime import run_until_stopped
from deploy.processes import Group
from deploy.servers import servers

async def work():
    state = Path(sys.argv[1])
    async with servers(state):
        group = Group(state / "runs")
        group.start("worker", [sys.executable, "-c", "import signal; signal.pause()"], os.environ)
        try:
            print("begun", flush=True)
            await asyncio.Event().wait()
        finally:
            group.stop()

run_until_stopped("run", work())
"""


class Script:
    """A script of a checkout whose state is in a folder of the test's own: a process, and a private PostgreSQL."""

    def __init__(self, state: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "CLARION_DATABASE_URL"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(state)], env=environment, stdout=subprocess.PIPE, text=True
        )
        self._run = state / "runs" / str(self.process.pid)
        self._server = state / "postgres.json"

    def begun(self) -> None:
        """Returns when everything runs."""
        assert self.process.stdout is not None
        assert "begun\n" in iter(self.process.stdout.readline, "")
        assert self.running()
        assert self.server_running()

    def running(self) -> bool:
        """Whether the process that it has started does."""
        return held(self._run / "worker.json")

    def server_running(self) -> bool:
        """Whether PostgreSQL does."""
        return held(self._server)

    def end(self, number: signal.Signals) -> int:
        """The exit status."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture
def state() -> Iterator[Path]:
    """The folder of a checkout's state."""
    if find_postgres() is None:
        pytest.skip("the tests run on a named server, and this machine has no PostgreSQL of its own")
    with open_folder() as folder:
        yield Path(folder)


async def test_of_a_killed_script_nothing_goes_on(state: Path) -> None:
    script = Script(state)
    script.begun()

    assert script.end(signal.SIGKILL) == -signal.SIGKILL

    await until(lambda: not script.running() and not script.server_running())
    await until(lambda: list((state / "runs").iterdir()) == [])


async def test_what_another_script_uses_goes_on(state: Path) -> None:
    killed, living = Script(state), Script(state)
    killed.begun()
    living.begun()

    killed.end(signal.SIGKILL)
    await until(lambda: not killed.running())
    await end_orphans(state)

    assert living.running()
    assert living.server_running()
    assert living.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert not living.server_running()


async def test_stopping_ends_whatever_still_runs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(state)
    script.begun()

    assert await end_everything(state) == 0

    assert script.process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert not script.running()
    assert not script.server_running()
    assert capsys.readouterr().out == (
        "Stopped 1 running script and what belonged to it\nNothing else of this checkout is running\n"
    )
    await end_everything(state)
    assert capsys.readouterr().out == "Nothing of this checkout is running\n"
    script.end(signal.SIGTERM)
