"""The checkout's private Python environment, made from the locked requirements. Standard library only."""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deploy.failure import CannotRun
from deploy.locks import alone

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = CHECKOUT / ".clarion"
_RUNTIME = CHECKOUT / "deploy" / "requirements.txt"
_TEST = CHECKOUT / "deploy" / "requirements-test.txt"

# Takes the descriptor of the lock: should this script be killed, what it runs holds the lock until it ends.
Step = Callable[[int], None]


def can_make_environments() -> bool:
    """Whether this Python has what venv needs; Debian packs it apart."""
    return not subprocess.run(
        [sys.executable, "-c", "import venv, ensurepip"], capture_output=True, check=False
    ).returncode


def environment_ready(*, tests: bool) -> bool:
    """Whether the environment of this lock, this Python and this place is there, complete."""
    return all(_stamp(path).exists() for path in ([_RUNTIME, _TEST] if tests else [_RUNTIME]))


def python() -> Path:
    """The environment's interpreter."""
    return _folder() / "bin" / "python"


def any_python() -> Path | None:
    """The interpreter of the newest environment, also of an earlier lock; None where there is none."""
    found = [path for path in (STATE / "python").glob("*/bin/python") if path.exists()]
    return max(found, key=lambda path: path.lstat().st_mtime, default=None)


def make_environment(*, tests: bool) -> None:
    """Install the locked packages and the project itself, or only what is missing of that."""
    STATE.mkdir(exist_ok=True)
    STATE.chmod(0o755)  # PostgreSQL's own user has to pass through when root runs this
    with alone(STATE / "environment.lock", busy="Waiting for another script that makes the Python environment") as lock:
        steps = _missing_steps(tests=tests)
        for number, (what, step) in enumerate(steps, 1):
            print(f"Python environment, step {number} of {len(steps)}: {what}", flush=True)
            step(lock)


def _missing_steps(*, tests: bool) -> list[tuple[str, Step]]:
    """What is left to do, in order; each with the words that announce it."""
    steps: list[tuple[str, Step]] = []
    if not _stamp(_RUNTIME).exists():
        steps += [
            (f"making {_folder().relative_to(CHECKOUT)}", _make_new),
            (f"installing {_locked(_RUNTIME)} locked packages", partial(_install_locked, _RUNTIME)),
            ("installing Clarion from this checkout", _install_project),
        ]
    if tests and not _stamp(_TEST).exists():
        steps.append((f"installing the locked test packages, {_locked(_TEST)} in all", _install_tests))
    return steps


def _locked(requirements: Path) -> int:
    return requirements.read_text("utf-8").count("==")


def _make_new(lock: int) -> None:
    folder = _folder()
    # The newest of the others stays: a service started before the lock changed may still run on it.
    others = [other for other in folder.parent.glob("*") if other != folder]
    for old in sorted(others, key=lambda other: other.stat().st_mtime)[:-1]:
        shutil.rmtree(old)
    # What was begun and not finished is not worth repairing.
    shutil.rmtree(folder, ignore_errors=True)
    _call([sys.executable, "-m", "venv", str(folder)], lock)


def _install_project(lock: int) -> None:
    _pip(lock, "--no-build-isolation", "--editable", str(CHECKOUT))
    _stamp(_RUNTIME).touch()


def _install_tests(lock: int) -> None:
    _install_locked(_TEST, lock)
    _stamp(_TEST).touch()


def _install_locked(requirements: Path, lock: int) -> None:
    _pip(lock, "--require-hashes", "-r", str(requirements))


def _pip(lock: int, *what: str) -> None:
    pip = [str(python()), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    _call([*pip, "install", "--no-deps", *what], lock)


def _folder() -> Path:
    """One per lock, Python and place: a new lock pulls no module from under a running service.

    A Python is known by what its packages are built for: an update that repairs it, as comes with the packages that the
    first run installs, goes on with the same environment.
    """
    built_for = (sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag, sysconfig.get_platform())
    parts = [str(CHECKOUT), repr(built_for), sys.base_prefix, *(p.read_text("utf-8") for p in (_RUNTIME, _TEST))]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    parts.append(repr((project["build-system"], project["project"], project["tool"]["setuptools"])))
    return STATE / "python" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _stamp(requirements: Path) -> Path:
    return _folder() / f"{requirements.stem}.installed"


def _call(command: list[str], lock: int) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, pass_fds=(lock,)
    )
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise CannotRun(f"the Python environment could not be made: {' '.join(command[1:4])} failed, see above")
