"""Processes that outlive the call that started them and are found again by a later one.

Each keeps a lock on its own file as long as it or a child of it lives, so that neither a stale file nor a
reused process id can be mistaken for it, whatever process was killed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.account import Account
from deploy.locks import alone, held, open_lock, try_lock

_POLL = 0.05  # seconds between looks at a process that is about to end
_PATIENCE = 20.0  # seconds in which a process of a run has to end
_STOP_PATIENCE = 60.0  # seconds in which a whole script has to
_OWNER = "owner"  # of a run's folder: locked while its script lives


@dataclass
class Process:
    """A process known by its file: JSON with "pid" and what the starter wants to remember."""

    file: Path
    child: "subprocess.Popen[bytes] | None" = None  # when it was started here

    def alive(self) -> bool:
        """Whether the process, or a child it left behind, still runs."""
        return held(self.file)

    def facts(self) -> dict[str, Any]:
        """What the starter noted, "pid" with it; empty when it never ran."""
        try:
            found = json.loads(self.file.read_text("utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def start(
        self,
        command: Sequence[str],
        *,
        log: Path | None,
        environment: Mapping[str, str],
        facts: Mapping[str, object] | None = None,
        account: Account | None = None,
        folder: Path | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Start it in a session of its own, so that Ctrl-C reaches only the script, which then stops it.

        It writes into the log, or where the script does. RuntimeError: it runs already.
        """
        fd = open_lock(self.file)
        try:
            if not try_lock(fd):
                raise RuntimeError(f"{self.file.stem} runs already")
            with nullcontext() if log is None else log.open("ab") as output:
                self.child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environment),
                    cwd=folder,
                    pass_fds=(fd,),
                    start_new_session=True,
                    **(account.identity() if account else {}),
                )
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": self.child.pid, **(facts or {})}).encode(), 0)
        finally:
            os.close(fd)
        return self.child

    def stop(self, *signals: tuple[signal.Signals, float]) -> None:
        """Send each signal in turn and wait its seconds for the end, until there is one.

        :raises TimeoutError: it survived them all.
        """
        for number, patience in signals:
            if not self.alive():
                return
            with suppress(ProcessLookupError):
                os.kill(self.facts()["pid"], number)
            if self.ended_within(patience):
                if self.child is not None:
                    self.child.wait()
                return
        raise TimeoutError(f"{self.file.stem} (process {self.facts().get('pid')}) does not end")

    def ended_within(self, patience: float) -> bool:
        """Wait at most so many seconds for the end."""
        deadline = time.monotonic() + patience
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True


class Group:
    """The processes of one run of a script, in a folder that a later run clears if this one is killed."""

    def __init__(self, runs: Path) -> None:
        runs.mkdir(exist_ok=True)
        clear_ended(runs)
        self.folder = runs / str(os.getpid())
        with alone(_gate(runs)):
            self.folder.mkdir()
            self._owner = open_lock(self.folder / _OWNER)
            try_lock(self._owner)
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, log: bool = True
    ) -> "subprocess.Popen[bytes]":
        """Start one more; its output goes to ``log(name)``, or where the script's own goes."""
        process = Process(self.folder / f"{name}.json")
        output = self.log(name) if log else None
        self.started[name] = process.start(command, log=output, environment=environment)
        return self.started[name]

    def log(self, name: str) -> Path:
        """Where a process writes; kept until a later run starts."""
        return self.folder / f"{name}.log"

    def ended(self) -> dict[str, int]:
        """Exit status by name of those that are not running any more; negative for a signal."""
        states = {name: popen.poll() for name, popen in self.started.items()}
        return {name: status for name, status in states.items() if status is not None}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Let all finish what they do, at the same time; kill what has not ended after that."""
        for popen in self.started.values():
            popen.send_signal(number)
        for popen in self.started.values():
            try:
                popen.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
        os.close(self._owner)


def clear_ended(runs: Path) -> list[str]:
    """Stop what killed runs have left, and remove their folders; the names of what was stopped."""
    stopped = []
    with alone(_gate(runs)):
        for folder in runs.iterdir() if runs.exists() else ():
            if held(folder / _OWNER):
                continue
            for process in map(Process, folder.glob("*.json")):
                if process.alive():
                    stopped.append(process.file.stem)
                process.stop((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, 5))
            shutil.rmtree(folder)
    return stopped


def stop_runs(runs: Path) -> int:
    """Ask every script that runs to stop, and wait until it has; how many there were."""
    living = [folder for folder in runs.glob("*") if held(folder / _OWNER)]
    for folder in living:
        with suppress(ProcessLookupError):
            os.kill(int(folder.name), signal.SIGTERM)
    deadline = time.monotonic() + _STOP_PATIENCE
    for folder in living:
        while held(folder / _OWNER):
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.kill(int(folder.name), signal.SIGKILL)
            time.sleep(_POLL)
    return len(living)


def _gate(runs: Path) -> Path:
    """Held while folders of runs are made and removed: one that is new has no owner for a moment."""
    return runs.with_name(f"{runs.name}.lock")


def last_line(log: Path) -> str:
    """The last line a process wrote, for the one line that says why it does not run."""
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
