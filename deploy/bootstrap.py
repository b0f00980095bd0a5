"""First step of all scripts, on the machine's bare Python: brings what is missing, then goes on in the
checkout's own environment. Standard library only.
"""

import os
import sys
from contextlib import redirect_stdout

from deploy import packages
from deploy.binaries import find_postgres, find_rabbitmq
from deploy.environment import CHECKOUT, can_make_environments, environment_ready, make_environment, python
from deploy.failure import CannotRun

_MODULES = {"run": "deploy.demo", "test": "deploy.suite", "bench": "tests.bench.fanout", "schema": "deploy.schema_text"}


def missing(*, tests: bool) -> list[packages.Need]:
    """What the machine lacks; a server that a variable names is not looked for."""
    needs = []
    if not environment_ready(tests=tests) and not can_make_environments():
        needs.append(packages.PYTHON_VENV)
    if not os.environ.get("CLARION_DATABASE_URL") and not find_postgres():
        needs.append(packages.POSTGRES)
    if not os.environ.get("CLARION_AMQP_URL") and not find_rabbitmq():
        needs.append(packages.RABBITMQ)
    return needs


def prepare(*, tests: bool) -> None:
    """Packages of the machine, then the environment."""
    if needs := missing(tests=tests):
        packages.install(needs)
        if still := missing(tests=tests):
            raise CannotRun(f"installed, and yet missing: {', '.join(need.what for need in still)}")
    if not environment_ready(tests=tests):
        make_environment(tests=tests)


def main() -> None:
    """``python3 -m deploy.bootstrap run|test|bench|schema [arguments]``."""
    script, arguments = sys.argv[1], sys.argv[2:]
    if script == "run" and arguments not in ([], ["--once"]):
        print("usage: deploy/run [--once]", file=sys.stderr)
        raise SystemExit(2)
    try:
        # Preparing prints progress; the benchmark's stdout is for its report.
        with redirect_stdout(sys.stderr if script == "bench" else sys.stdout):
            prepare(tests=script in ("test", "bench"))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (CannotRun, OSError) as error:
        print(f"deploy/{script}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    environment = {**os.environ, "PATH": f"{python().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    os.chdir(CHECKOUT)
    os.execve(python(), [str(python()), "-m", _MODULES[script], *arguments], environment)


if __name__ == "__main__":
    main()
