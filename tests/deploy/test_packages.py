"""What happens when the machine lacks something."""

import os
from pathlib import Path

import pytest

from deploy import packages
from deploy.failure import CannotRun


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
