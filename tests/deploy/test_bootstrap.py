"""What a first and a second start do before anything of the checkout can run."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy import bootstrap, environment, packages, signals
from deploy.environment import environment_ready, make_environment, python
from deploy.failure import CannotRun
from deploy.locks import alone, held
from tests.support.waiting import until

_CHECKOUT = environment.CHECKOUT
# Makes an environment whose first step takes for ever: it says so, and its process id.
_MAKING = """
import os, sys
from pathlib import Path
from deploy import bootstrap, environment

environment.STATE = Path(sys.argv[1])
slow = "import os, signal; print(os.getpid(), file=open('begun', 'w'), flush=True); signal.pause()"
environment._make_new = lambda lock: environment._call([sys.executable, "-c", slow], lock)
environment.CHECKOUT = environment.STATE.parent
bootstrap.environment_ready = lambda *, tests: False
bootstrap.missing = lambda **_: []
os.chdir(environment.CHECKOUT)
sys.argv = ["bootstrap", "run"]
bootstrap.main()
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that make an environment, noted instead of run, in a checkout whose state is empty."""
    found: list[list[str]] = []
    (tmp_path / ".clarion").mkdir()
    monkeypatch.setattr(environment, "STATE", tmp_path / ".clarion")
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    shutil.copy(_CHECKOUT / "pyproject.toml", tmp_path)

    def note(command: list[str], _: int) -> None:
        found.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)

    monkeypatch.setattr(environment, "_call", note)
    return found


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """The script sets them for the process that it runs in."""
    before = {number: signal.getsignal(number) for number in signals.STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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


def _script(program: str, path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
async def making(tmp_path: Path) -> AsyncIterator["tuple[subprocess.Popen[str], int]"]:
    """A script that makes its environment, and the id of the process that takes so long."""
    (tmp_path / ".clarion").mkdir()
    shutil.copy(_CHECKOUT / "pyproject.toml", tmp_path)
    with _script(_MAKING, tmp_path / ".clarion") as script:
        begun = tmp_path / "begun"

        def has_begun() -> bool:
            assert script.poll() is None
            return begun.exists() and bool(begun.read_text())

        await until(has_begun)
        child = int(begun.read_text())
        yield script, child
        script.kill()
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_makes_the_environment_too(
    making: "tuple[subprocess.Popen[str], int]", number: signal.Signals
) -> None:
    script, child = making

    script.send_signal(number)
    said, _ = script.communicate(timeout=60)

    assert script.returncode == 128 + number
    assert len(said.splitlines()) == 1  # what it was doing
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_who_comes_after_a_killed_script_waits_for_what_it_left(
    making: "tuple[subprocess.Popen[str], int]", tmp_path: Path
) -> None:
    script, child = making
    lock = tmp_path / ".clarion" / "environment.lock"

    script.kill()
    script.wait()
    assert held(lock)

    os.kill(child, signal.SIGKILL)
    with alone(lock):
        pass


def test_waiting_for_another_script_is_said(tmp_path: Path) -> None:
    lock, wait = tmp_path / "lock", "import sys; from deploy.locks import alone; from pathlib import Path\n"
    wait += "with alone(Path(sys.argv[1]), busy='Waiting'): print('alone')"
    with alone(lock, busy="Never said"):
        other = _script(wait, lock)
        assert other.stdout is not None
        assert other.stdout.readline() == "Waiting\n"
    assert other.communicate(timeout=60)[0] == "alone\n"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_python_starts_ends_a_script_without_a_word(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import os; os.kill(os.getpid(), {int(number)})")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    done = subprocess.run(
        [_CHECKOUT / "deploy" / "run"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


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


@pytest.mark.parametrize(
    ("script", "arguments", "usage"),
    [
        ("run", ["--twice"], "[--once | --stop]"),
        ("run", ["--once", "--stop"], "[--once | --stop]"),
        ("run", ["once"], "[--once | --stop]"),
        ("screenshots", ["--dark"], "[FOLDER]"),
    ],
)
def test_an_unknown_argument_is_wrong_usage(
    script: str, arguments: list[str], usage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bootstrap", script, *arguments])

    with pytest.raises(SystemExit) as ended:
        bootstrap.main()

    assert ended.value.code == 2
    assert capsys.readouterr().err == f"usage: deploy/{script} {usage}\n"


@pytest.mark.parametrize("script", ["run", "screenshots"])
def test_help_makes_nothing(
    script: str, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bootstrap", script, "--help"])

    with pytest.raises(SystemExit) as ended:
        bootstrap.main()

    assert (ended.value.code, calls) == (0, [])
    assert capsys.readouterr().out.startswith(f"usage: deploy/{script} [")


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
        replaced.extend([*arguments[:2], signal.pthread_sigmask(signal.SIG_BLOCK, ())])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", replace)
    with pytest.raises(SystemExit):
        bootstrap.main()
    signals.release()

    interpreter, command, waiting = replaced
    assert (interpreter, command) == (earlier, [str(earlier), "-m", "deploy.orphans"])
    assert waiting == {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}


def test_what_is_missing_depends_on_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "find_postgres", lambda: None)
    monkeypatch.setattr(bootstrap, "find_rabbitmq", lambda: None)
    monkeypatch.setattr(bootstrap, "environment_ready", lambda *, tests: not tests)
    monkeypatch.setattr(bootstrap, "can_make_environments", lambda: False)
    monkeypatch.delenv("CLARION_DATABASE_URL", raising=False)
    monkeypatch.setenv("CLARION_AMQP_URL", "amqp://elsewhere")

    assert bootstrap.missing(tests=False) == [packages.POSTGRES]
    assert bootstrap.missing(tests=True) == [packages.PYTHON_VENV, packages.POSTGRES]


def test_programs_of_tests_that_cannot_be_had_are_said_in_a_line_and_hold_nothing_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[packages.Need]] = []

    def refuse(needs: list[packages.Need]) -> None:
        asked.append(needs)
        raise CannotRun("missing: promtool; run: sudo apt-get install prometheus")

    monkeypatch.setattr(packages, "install", refuse)
    monkeypatch.setattr(packages, "find_program", lambda program: None)
    bootstrap.prepare_checks()

    assert asked == [list(packages.OF_TESTS.values())]
    assert capsys.readouterr().out == (
        "Some tests will be skipped: missing: promtool; run: sudo apt-get install prometheus\n"
    )
    monkeypatch.setattr(packages, "find_program", lambda program: Path("/usr/bin", program))
    bootstrap.prepare_checks()
    assert len(asked) == 1


def test_the_bill_of_materials_needs_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "find_postgres", lambda: None)
    monkeypatch.setattr(bootstrap, "find_rabbitmq", lambda: None)
    monkeypatch.setattr(bootstrap, "environment_ready", lambda *, tests: not tests)
    monkeypatch.setattr(bootstrap, "can_make_environments", lambda: False)
    monkeypatch.delenv("CLARION_DATABASE_URL", raising=False)
    monkeypatch.delenv("CLARION_AMQP_URL", raising=False)

    assert bootstrap.missing(tests=True, servers=False) == [packages.PYTHON_VENV]


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
