"""What a first and a second start do before anything of the checkout can run."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from deploy import bootstrap, environment, packages
from deploy.environment import environment_ready, make_environment, python

_CHECKOUT = environment.CHECKOUT


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that make an environment, noted instead of run, in a checkout whose state is empty."""
    found: list[list[str]] = []
    (tmp_path / ".clarion").mkdir()
    monkeypatch.setattr(environment, "STATE", tmp_path / ".clarion")
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    shutil.copy(_CHECKOUT / "pyproject.toml", tmp_path)

    def note(command: list[str]) -> None:
        found.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)

    monkeypatch.setattr(environment, "_call", note)
    return found


def test_every_step_is_announced_and_none_is_done_twice(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    make_environment(tests=False)

    steps = capsys.readouterr().out.splitlines()
    assert len(steps) == len(calls) == 3
    assert [step.partition(":")[0] for step in steps] == [f"Python environment, step {n} of 3" for n in (1, 2, 3)]
    assert environment_ready(tests=False)
    assert not environment_ready(tests=True)

    make_environment(tests=True)
    (step,) = capsys.readouterr().out.splitlines()
    assert " 1 of 1: " in step
    assert "installing the locked test packages" in step
    assert environment_ready(tests=True)

    make_environment(tests=True)
    assert (len(calls), capsys.readouterr().out) == (4, "")


def test_what_was_begun_and_not_finished_is_begun_again(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(environment, "_pip", fail)
        with pytest.raises(KeyboardInterrupt):
            make_environment(tests=False)
    assert not environment_ready(tests=False)

    make_environment(tests=False)

    assert sum("venv" in command for command in calls) == 2


def test_an_update_that_repairs_python_keeps_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages that a first run installs on a bare Debian bring one with them."""
    before = python()

    monkeypatch.setattr(sys, "version", "3.11.99 (main, Jan  1 2030, 00:00:00) [GCC 12.2.0]")
    monkeypatch.setattr(sys, "version_info", (3, 11, 99, "final", 0))

    assert python() == before


def test_a_python_with_other_packages_has_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = python()
    other = {"SOABI": "cpython-399-x86_64-linux-gnu"}

    monkeypatch.setattr(sysconfig, "get_config_var", other.get)

    assert python() != before


@pytest.mark.parametrize("arguments", [["--twice"], ["--once", "--stop"], ["once"]])
def test_an_unknown_argument_is_wrong_usage(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bootstrap", "run", *arguments])

    with pytest.raises(SystemExit) as ended:
        bootstrap.main()

    assert ended.value.code == 2
    assert capsys.readouterr().err == "usage: deploy/run [--once | --stop]\n"


def test_without_an_environment_there_is_nothing_to_stop(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bootstrap", "run", "--stop"])

    with pytest.raises(SystemExit) as ended:
        bootstrap.main()

    assert (ended.value.code, calls) == (0, [])
    assert capsys.readouterr().out == "Nothing of this checkout is running\n"


def test_what_runs_in_the_environment_of_an_earlier_lock_is_stopped_from_there(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = tmp_path / ".clarion" / "python" / "earlier" / "bin" / "python"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    replaced: list[object] = []
    monkeypatch.setattr(sys, "argv", ["bootstrap", "run", "--stop"])
    monkeypatch.setattr(os, "chdir", lambda _: None)

    def replace(*arguments: object) -> None:
        replaced.extend(arguments[:2])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", replace)
    with pytest.raises(SystemExit):
        bootstrap.main()

    assert replaced == [earlier, [str(earlier), "-m", "deploy.orphans"]]


def test_what_is_missing_depends_on_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "find_postgres", lambda: None)
    monkeypatch.setattr(bootstrap, "find_rabbitmq", lambda: None)
    monkeypatch.setattr(bootstrap, "environment_ready", lambda *, tests: not tests)
    monkeypatch.setattr(bootstrap, "can_make_environments", lambda: False)
    monkeypatch.delenv("CLARION_DATABASE_URL", raising=False)
    monkeypatch.setenv("CLARION_AMQP_URL", "amqp://elsewhere")

    assert bootstrap.missing(tests=False) == [packages.POSTGRES]
    assert bootstrap.missing(tests=True) == [packages.PYTHON_VENV, packages.POSTGRES]


def test_what_was_installed_and_is_still_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "find_postgres", lambda: None)
    monkeypatch.setattr(bootstrap, "environment_ready", lambda *, tests: True)
    monkeypatch.delenv("CLARION_DATABASE_URL", raising=False)
    monkeypatch.setattr(packages, "install", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["bootstrap", "run"])

    with pytest.raises(SystemExit) as ended:
        bootstrap.main()

    assert ended.value.code == 1
    assert capsys.readouterr().err == "deploy/run: installed, and yet missing: PostgreSQL 15 or newer\n"
