"""The user of the machine that runs PostgreSQL, which refuses to run as root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.failure import CannotRun


@dataclass(frozen=True)
class Account:
    """A user of the machine to run as."""

    name: str
    uid: int
    gid: int

    def identity(self) -> dict[str, Any]:
        """Arguments that make ``subprocess`` run as this user and with no further groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may_enter(self, folder: Path) -> bool:
        """Whether every folder on the way lets the user through; only found by trying."""
        command = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
        return not subprocess.run(command, cwd="/", capture_output=True, check=False, **self.identity()).returncode


def server_account() -> Account | None:
    """None unless this is root; else the user of PostgreSQL's packages, or the one with the fewest rights."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise CannotRun("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
