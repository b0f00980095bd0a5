"""What happens when the machine lacks something."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import packages
from deploy.failure import CannotRun
from tests.support.waiting import until

# Installs as root would, but for the place of policy-rc.d.
_STOPPED = """
import os, signal, sys
from deploy import packages

signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
packages._APT_SCRIPT = packages._APT_SCRIPT.replace("/usr/sbin", sys.argv[1])
os.geteuid = lambda: 0
packages.install([packages.RABBITMQ])
"""


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, of an ordinary user's."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_the_right_to_install_the_exact_commands_are_named(bin_folder: Path) -> None:
    _program(bin_folder / "apt-get", "exit 1")

    with pytest.raises(CannotRun, match=r"sudo apt-get update && sudo apt-get install python3-venv rabbitmq-server$"):
        packages.install([packages.PYTHON_VENV, packages.RABBITMQ])


def test_sudo_that_asks_for_a_password_is_no_right(bin_folder: Path) -> None:
    _program(bin_folder / "apt-get", "exit 0")
    _program(bin_folder / "sudo", "exit 1")

    with pytest.raises(CannotRun, match=r"sudo apt-get install postgresql$"):
        packages.install([packages.POSTGRES])


def test_without_a_package_manager_both_ways_are_named(bin_folder: Path) -> None:
    with pytest.raises(CannotRun, match="apt-get install postgresql, or: brew install postgresql@17"):
        packages.install([packages.POSTGRES])


def test_brew_installs_after_saying_so(bin_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _program(bin_folder / "brew", f'echo "$@" > {bin_folder}/asked')

    packages.install([packages.POSTGRES, packages.RABBITMQ])

    assert (bin_folder / "asked").read_text() == "install postgresql@17 rabbitmq\n"
    assert capsys.readouterr().out == "Installing postgresql@17 rabbitmq with brew\n"


def test_a_failed_installation_shows_the_package_managers_words(
    bin_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _program(bin_folder / "brew", "echo no space left >&2; exit 3")

    with pytest.raises(CannotRun, match="could not install rabbitmq"):
        packages.install([packages.RABBITMQ])

    assert "no space left" in capsys.readouterr().err


def _installing(folder: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.Popen(
        [sys.executable, "-c", _STOPPED, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )


async def test_a_stop_waits_for_the_package_manager_and_leaves_no_policy_behind(tmp_path: Path) -> None:
    """apt-get is not cut short: half of an installation is worse than none."""
    go_on = tmp_path / "go_on"
    os.mkfifo(go_on)
    install = f"touch {tmp_path}/begun; read line < {go_on}; echo Setting up; touch {tmp_path}/whole"
    _program(tmp_path / "apt-get", f'case "$*" in *update) exit;; esac; {install}')
    script = _installing(tmp_path)

    def begun() -> bool:
        assert script.poll() is None
        return (tmp_path / "begun").exists()

    await until(begun)
    assert (tmp_path / "policy-rc.d").exists()

    script.send_signal(signal.SIGTERM)
    assert script.stdout is not None
    assert any("stopping when the package manager" in line for line in iter(script.stdout.readline, ""))
    go_on.write_text("now\n")
    assert script.wait(60) == 128 + signal.SIGTERM
    script.stdout.close()
    assert not (tmp_path / "policy-rc.d").exists()
    assert (tmp_path / "whole").exists()
