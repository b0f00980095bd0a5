"""Processes that a later call finds again, whichever process was killed and how."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.locks import open_lock, try_lock
from deploy.processes import Group, Process, clear_ended
from tests.support.waiting import PATIENCE, until

_WAITS = "import signal; signal.pause()"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"


def _start(process: Process, script: str = _WAITS) -> "subprocess.Popen[bytes]":
    log = process.file.with_suffix(".log")
    return process.start([sys.executable, "-c", script], log=log, environment=os.environ, facts={"port": 7})


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path / "server.json")


def test_a_later_call_finds_and_stops_it(process: Process) -> None:
    started = _start(process)

    again = Process(process.file)

    assert again.alive()
    assert again.facts() == {"pid": started.pid, "port": 7}
    again.stop((signal.SIGTERM, PATIENCE))
    assert not again.alive()
    assert started.wait() == -signal.SIGTERM


def test_what_was_never_started_is_not_alive_and_stopping_it_is_nothing(process: Process) -> None:
    process.stop((signal.SIGTERM, 1))

    assert not process.alive()
    assert process.facts() == {}


def test_a_stale_file_with_the_id_of_another_process_harms_none(process: Process) -> None:
    process.file.write_text(json.dumps({"pid": os.getpid(), "port": 7}))

    assert not process.alive()
    process.stop((signal.SIGKILL, 1))
    _start(process)
    process.stop((signal.SIGTERM, PATIENCE))


def test_after_a_kill_it_can_be_started_again(process: Process) -> None:
    started = _start(process)
    started.kill()
    started.wait()

    assert not process.alive()
    _start(process)
    assert process.alive()
    process.stop((signal.SIGTERM, PATIENCE))


def test_it_is_not_started_twice(process: Process) -> None:
    _start(process)

    with pytest.raises(RuntimeError, match="runs already"):
        _start(process)

    process.stop((signal.SIGTERM, PATIENCE))


async def test_one_that_ignores_a_signal_gets_the_next(process: Process) -> None:
    started = _start(process, _STUBBORN)
    await until(lambda: bool(process.file.with_suffix(".log").stat().st_size))

    process.stop((signal.SIGTERM, 0.2), (signal.SIGKILL, PATIENCE))

    assert started.wait() == -signal.SIGKILL


def test_a_run_ends_what_it_started(tmp_path: Path) -> None:
    group = Group(tmp_path / "runs")
    group.start("worker", [sys.executable, "-c", _WAITS], os.environ)
    assert group.ended() == {}

    group.stop()

    assert group.ended() == {"worker": -signal.SIGTERM}


def test_what_a_killed_run_left_is_stopped_and_cleared_by_the_next(tmp_path: Path) -> None:
    abandoned = tmp_path / "4711"
    abandoned.mkdir()
    left = _start(Process(abandoned / "worker.json"))

    clear_ended(tmp_path)

    assert left.wait() == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    living = tmp_path / "4711"
    living.mkdir()
    owner = open_lock(living / "owner")
    assert try_lock(owner)
    worker = Process(living / "worker.json")
    _start(worker)

    clear_ended(tmp_path)

    assert worker.alive()
    worker.stop((signal.SIGTERM, PATIENCE))
    os.close(owner)
