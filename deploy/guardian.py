"""A process beside each script that cleans up after it when it cannot do so itself, having been killed.

PostgreSQL and RabbitMQ notice nothing of the death of the process that started them, and a signal at that death would
end servers that another script uses. So one more process waits for the script's end, which closes a pipe, and then
does what the script would have done (deploy/orphans.py).
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.environment import CHECKOUT

_WAIT = 'read orderly || exec "$@"'


@contextmanager
def guarded(state: Path) -> Iterator[None]:
    """Should this process be killed during the block, what it has started ends all the same."""
    clean_up = [sys.executable, "-m", "deploy.orphans", str(state.absolute())]
    with (state / "guardian.log").open("ab") as log:
        # In a session of its own: what ends the script's terminal does not end it.
        guardian = subprocess.Popen(
            ["/bin/sh", "-c", _WAIT, "guardian", *clean_up],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            guardian.communicate(b"orderly\n")
