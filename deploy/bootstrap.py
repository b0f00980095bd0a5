"""First step of all scripts, on the machine's bare Python: brings what is missing, then goes on in the
checkout's own environment. Standard library only.
"""

import os
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deploy import packages
from deploy.binaries import find_postgres, find_rabbitmq
from deploy.environment import (
    CHECKOUT,
    any_python,
    can_make_environments,
    environment_ready,
    make_environment,
    python,
)
from deploy.failure import CannotRun
from deploy.signals import STOPPING, hold, ignored, release

_STOP = ["--stop"]
_USAGE = {
    "run": "usage: deploy/run [--once | --stop]",
    "screenshots": "usage: deploy/screenshots [FOLDER]",
}
_HELP = {
    "run": """
Clarion from nothing: servers, gateway and workers, a demo institution, one bulk message to its 10,000 students.
Then it serves until Ctrl-C, and prints the address of the console and the first commands.

  --once  ends after the send, with exit status 0 when each student has exactly one copy
  --stop  ends what an earlier run has left behind""",
    "screenshots": """
Pictures of every page of the console, in both themes and two widths, in .clarion/screenshots or in that folder.""",
}
_MODULES = {
    "run": "deploy.demo",
    "test": "deploy.suite",
    "bench": "tests.bench.fanout",
    "schema": "deploy.schema_text",
    "audit": "deploy.bill_of_materials",
    "image/build": "deploy.image.build",
    "screenshots": "tests.road.screenshots",
}
_WITH_TESTS = ("test", "bench", "audit", "screenshots")  # scripts that need the packages of the tests


def missing(*, tests: bool, servers: bool = True) -> list[packages.Need]:
    """What the machine lacks; a server that a variable names is not looked for."""
    needs = []
    if not environment_ready(tests=tests) and not can_make_environments():
        needs.append(packages.PYTHON_VENV)
    if not servers:
        return needs
    if not _is_set("CLARION_DATABASE_URL") and not find_postgres():
        needs.append(packages.POSTGRES)
    if not _is_set("CLARION_AMQP_URL") and not find_rabbitmq():
        needs.append(packages.RABBITMQ)
    return needs


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable) or os.environ.get(f"{variable}_FILE"))


def prepare(*, tests: bool, servers: bool = True) -> None:
    """Packages of the machine, then the environment."""
    if needs := missing(tests=tests, servers=servers):
        packages.install(needs)
        if still := missing(tests=tests, servers=servers):
            raise CannotRun(f"installed, and yet missing: {', '.join(need.what for need in still)}")
    if not environment_ready(tests=tests):
        make_environment(tests=tests)


def prepare_checks() -> None:
    """Programs that some tests ask for; what cannot be had is said in a line, and those tests are skipped."""
    if needs := [need for program, need in packages.OF_TESTS.items() if not packages.find_program(program)]:
        try:
            packages.install(needs)
        except CannotRun as error:
            print(f"Some tests will be skipped: {error}", flush=True)


def stop() -> NoReturn:
    """``deploy/run --stop``: nothing is made for it, for without any environment nothing can be running."""
    found = python() if environment_ready(tests=False) else any_python()
    if found is None:
        print("Nothing of this checkout is running")
        raise SystemExit(0)
    _go_on(found, "deploy.orphans", [])


def main() -> None:
    """The script that the first argument names, with the others."""
    script, arguments = sys.argv[1], sys.argv[2:]
    for number in STOPPING:
        if not ignored(number):
            signal.signal(number, _end)
    release()
    if script in _HELP and arguments in (["--help"], ["-h"]):
        print(_USAGE[script], _HELP[script], sep="\n")
        raise SystemExit(0)
    if not _is_usage(script, arguments):
        print(_USAGE[script], file=sys.stderr)
        raise SystemExit(2)
    if script == "run" and arguments == _STOP:
        stop()
    try:
        # Preparing prints progress; the benchmark's stdout is for its report.
        with redirect_stdout(sys.stderr if script == "bench" else sys.stdout):
            prepare(tests=script in _WITH_TESTS, servers=script != "audit")
            if script in ("test", "screenshots"):
                prepare_checks()
    except (CannotRun, OSError) as error:
        print(f"deploy/{script}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    _go_on(python(), _MODULES[script], arguments)


def _is_usage(script: str, arguments: list[str]) -> bool:
    """Of the scripts whose module does not look at its arguments itself."""
    match script:
        case "run":
            return arguments in ([], ["--once"], _STOP)
        case "screenshots":
            return len(arguments) <= 1 and not any(each.startswith("-") for each in arguments)
        case _:
            return True


def _end(number: int, _: FrameType | None) -> NoReturn:
    """What runs is killed on the way out (``subprocess.run``), or waited for (deploy/packages.py)."""
    raise SystemExit(128 + number)


def _go_on(interpreter: Path, module: str, arguments: list[str]) -> NoReturn:
    """In the environment of this interpreter."""
    environment = {**os.environ, "PATH": f"{interpreter.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    os.chdir(CHECKOUT)
    hold()  # until the module knows what to do with them (deploy/lifetime.py)
    os.execve(interpreter, [str(interpreter), "-m", module, *arguments], environment)
