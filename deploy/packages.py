"""Installs what the machine lacks with its own package manager. Standard library only."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.failure import CannotRun


@dataclass(frozen=True)
class Need:
    """Something missing on this machine and the packages that bring it."""

    what: str
    apt: str
    brew: str


PYTHON_VENV = Need("Python's venv module", "python3-venv", "python")
POSTGRES = Need("PostgreSQL 15 or newer", "postgresql", "postgresql@17")
RABBITMQ = Need("RabbitMQ 3.10 or newer", "rabbitmq-server", "rabbitmq")
# By the program that a test asks for; it is skipped without.
OF_TESTS = {
    "chromium": Need("Chromium", "chromium", "chromium"),
    "haproxy": Need("HAProxy 2.6 or newer", "haproxy", "haproxy"),
    "pgbouncer": Need("PgBouncer", "pgbouncer", "pgbouncer"),
    "promtool": Need("Prometheus's promtool", "prometheus", "prometheus"),
}
_FOLDERS = ("/usr/sbin", "/opt/homebrew/bin")  # where Debian has a server's program for root alone, and brew all

# The packages would start services of their own at installation; policy-rc.d is Debian's way to say no.
_APT_SCRIPT = """
policy=/usr/sbin/policy-rc.d
# A trap waits for the program that runs: half of an installation is worse than none.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
echo "step: reading the lists of packages"
apt-get -qq update
echo "step: installing them and what they need, which takes a minute or two"
apt-get -qq install -y --no-install-recommends "$@"
"""
_STEP = "step: "


def find_program(name: str) -> Path | None:
    """A program of the machine, on PATH or not."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS]))
    return None if found is None else Path(found)


def install(needs: list[Need]) -> None:
    """Bring what is needed; CannotRun with the exact commands where this user may not."""
    what = ", ".join(need.what for need in needs)
    if shutil.which("apt-get"):
        packages = [need.apt for need in needs]
        right = _right_to_install()
        if right is None:
            commands = f"sudo apt-get update && sudo apt-get install {' '.join(packages)}"
            raise CannotRun(f"missing: {what}; run: {commands}")
        command = [*right, "env", "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", _APT_SCRIPT, "sh", *packages]
    elif shutil.which("brew"):
        packages = [need.brew for need in needs]
        command = ["brew", "install", *packages]
    else:
        apt, brew = (" ".join(getattr(need, tool) for need in needs) for tool in ("apt", "brew"))
        raise CannotRun(
            f"missing: {what}; install it with your package manager"
            f" (sudo apt-get install {apt}, or: brew install {brew}) and put it on PATH"
        )
    print(f"Installing {' '.join(packages)} with {'brew' if command[0] == 'brew' else 'apt-get'}", flush=True)
    status, said = _run(command)
    if status:
        sys.stderr.write(said)
        raise CannotRun(f"could not install {' '.join(packages)}: the package manager's words are above")


def _run(command: list[str]) -> tuple[int, str]:
    """Exit status, and what it said but for its steps, which are shown as they come."""
    said = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(_STEP):
                    print(f"  {line.removeprefix(_STEP)}", end="", flush=True)
                else:
                    said.append(line)
        except SystemExit:
            with suppress(OSError):  # it may be root's, by sudo
                process.terminate()
            with suppress(OSError):  # there may be no terminal any more
                print("  stopping when the package manager has done what it does now", flush=True)
            for _ in process.stdout:
                pass  # a program whose words nobody takes dies of them
            raise
    return process.returncode, "".join(said)


def _right_to_install() -> list[str] | None:
    """The prefix that makes a command run as root, or None."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and not subprocess.run(
            ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).returncode
    ):
        return ["sudo", "-n"]
    return None
