"""A script ends when it is told to, whatever became of its terminal."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE, until

_SCRIPT = """
import os, signal, sys
from deploy import signals

what = sys.argv[2]
signal.signal(signal.SIGHUP, signal.SIG_IGN if what == "nohup" else signal.SIG_DFL)
if what.startswith("early_"):
    signals.hold()  # as deploy/bootstrap.py does before it becomes the script
    os.kill(os.getpid(), int(what.removeprefix("early_")))

import asyncio
from pathlib import Path
from deploy.failure import CannotRun
from deploy.lifetime import run_until_stopped

async def work():
    folder = Path(sys.argv[1])
    if what == "fails":
        raise CannotRun("it cannot be done")
    if what == "nohup":
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(5):
            await asyncio.sleep(0)  # by now the loop has looked at what came
    (folder / "begun").touch()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        if what == "fails_to_stop":
            raise CannotRun("it cannot be undone")
        (folder / "cleaned_up").touch()

run_until_stopped("run", work())
"""


class Terminal:
    """A terminal whose user may close it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.open = True

    def close(self) -> None:
        """No one reads any more, and every word that is written fails."""
        if self.open:
            os.close(self.ours)
            self.open = False

    def said(self) -> str:
        """What has been written, once all writers have gone."""
        os.close(self.theirs)
        found = b""
        try:
            while block := os.read(self.ours, 4096):
                found += block
        except OSError:  # how Linux says that it is the end
            pass
        return found.decode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Open."""
    made = Terminal()
    yield made
    made.close()


def _start(terminal: Terminal, folder: Path, what: str = "works") -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", _SCRIPT, str(folder), what]
    theirs = terminal.theirs
    return subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)


async def _begun(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    def has_begun() -> bool:
        assert process.poll() is None
        return (folder / "begun").exists()

    await until(has_begun)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("closed", [False, True])
async def test_the_first_signal_ends_it_with_or_without_a_terminal(
    terminal: Terminal, tmp_path: Path, number: signal.Signals, *, closed: bool
) -> None:
    process = _start(terminal, tmp_path)
    await _begun(tmp_path, process)
    if closed:
        terminal.close()

    process.send_signal(number)

    assert process.wait(PATIENCE) == 128 + number
    assert (tmp_path / "cleaned_up").exists()
    if not closed:
        assert "deploy/run: stopping" in terminal.said()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_is_loaded_ends_it_before_it_begins(
    terminal: Terminal, tmp_path: Path, number: signal.Signals
) -> None:
    process = _start(terminal, tmp_path, f"early_{int(number)}")

    assert process.wait(60) == 128 + number
    assert terminal.said() == ""
    assert not (tmp_path / "begun").exists()


async def test_under_nohup_it_outlives_its_terminal(terminal: Terminal, tmp_path: Path) -> None:
    terminal.close()
    process = _start(terminal, tmp_path, "nohup")
    await _begun(tmp_path, process)

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 128 + signal.SIGTERM


def test_a_failure_is_one_line_and_status_1(terminal: Terminal, tmp_path: Path) -> None:
    process = _start(terminal, tmp_path, "fails")

    assert process.wait(PATIENCE) == 1
    assert terminal.said() == "deploy/run: it cannot be done\r\n"


def test_a_failure_without_a_terminal_is_status_1_as_well(terminal: Terminal, tmp_path: Path) -> None:
    terminal.close()

    assert _start(terminal, tmp_path, "fails").wait(PATIENCE) == 1


def test_a_failure_without_any_output_is_status_1_as_well(tmp_path: Path) -> None:
    """Closed before it began, as by ``>&- 2>&-``: Python then has no such stream at all."""
    arguments = [sys.executable, "-c", _SCRIPT, str(tmp_path), "fails"]

    silent = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *arguments], check=False)
    piped = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *arguments], check=False, stderr=subprocess.PIPE)

    assert (silent.returncode, piped.returncode) == (1, 1)
    assert piped.stderr == b"deploy/run: it cannot be done\n"


@pytest.mark.parametrize("closed", [False, True])
async def test_a_signal_is_the_status_also_when_cleaning_up_fails(
    terminal: Terminal, tmp_path: Path, *, closed: bool
) -> None:
    process = _start(terminal, tmp_path, "fails_to_stop")
    await _begun(tmp_path, process)
    if closed:
        terminal.close()

    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert closed or "it cannot be undone" in terminal.said()
