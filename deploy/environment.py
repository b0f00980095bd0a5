"""The checkout's private Python environment, made from the locked requirements. Standard library only."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from deploy.failure import CannotRun
from deploy.locks import alone

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = CHECKOUT / ".clarion"
_RUNTIME = CHECKOUT / "deploy" / "requirements.txt"
_TEST = CHECKOUT / "deploy" / "requirements-test.txt"


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


def make_environment(*, tests: bool) -> None:
    """Install the locked packages and the project itself, or only what is missing of that."""
    STATE.mkdir(exist_ok=True)
    STATE.chmod(0o755)  # PostgreSQL's own user has to pass through when root runs this
    with alone(STATE / "environment.lock"):
        if not _stamp(_RUNTIME).exists():
            _make_new()
        if tests and not _stamp(_TEST).exists():
            print("Installing the locked test packages", flush=True)
            _install_locked(_TEST)


def _make_new() -> None:
    folder = _folder()
    # The newest of the others stays: a service started before the lock changed may still run on it.
    others = [other for other in folder.parent.glob("*") if other != folder]
    for old in sorted(others, key=lambda other: other.stat().st_mtime)[:-1]:
        shutil.rmtree(old)
    # What was begun and not finished is not worth repairing.
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Making the Python environment {folder.relative_to(CHECKOUT)}", flush=True)
    _call([sys.executable, "-m", "venv", str(folder)])
    _install_locked(_RUNTIME, "--no-build-isolation", "--editable", str(CHECKOUT))


def _install_locked(requirements: Path, *project: str) -> None:
    pip = [
        str(python()),
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--no-deps",
    ]
    _call([*pip, "--require-hashes", "-r", str(requirements)])
    if project:
        _call([*pip, *project])
    _stamp(requirements).touch()


def _folder() -> Path:
    """One per lock, Python and place: a new lock pulls no module from under a running service."""
    parts = [str(CHECKOUT), sys.version, sys.base_prefix, *(p.read_text("utf-8") for p in (_RUNTIME, _TEST))]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    parts.append(repr((project["build-system"], project["project"], project["tool"]["setuptools"])))
    return STATE / "python" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _stamp(requirements: Path) -> Path:
    return _folder() / f"{requirements.stem}.installed"


def _call(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise CannotRun(f"the Python environment could not be made: {' '.join(command[1:4])} failed, see above")
