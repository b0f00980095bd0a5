"""The image run as a cluster would run it: its own user, no rights, a root that cannot be written to."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.failure import CannotRun
from deploy.ports import reserved_port
from deploy.readiness import WITHIN, until_ready
from deploy.servers import Servers

_ENDS_WITHIN = 30.0  # seconds, the grace of deploy/kubernetes
# In a mount and a process namespace of its own, where it is the first process, as in a container. The network is the
# machine's: the servers listen on loopback.
_ENTER = """
root=$1; user=$2; shift 2
mount --rbind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" "$root" env --ignore-environment "$@"
"""

_PROBE = """
import os, sys
try:
    open("/opt/clarion/x", "w")
except OSError:
    sys.exit(os.getuid() == 0)
sys.exit(1)
"""


async def try_image(root: Path, config: dict[str, Any], servers: Servers) -> None:
    """``clarion migrate``, then a gateway and a worker until both answer /readyz and have stopped on SIGTERM.

    CannotRun says which of them did not, and its last words.
    """
    async with AsyncExitStack() as stack:
        port, worker_port = (stack.enter_context(reserved_port()) for _ in range(2))
        container = _Container(
            root,
            config,
            {
                **servers.environment(),
                "CLARION_PORT": str(port),
                "CLARION_WORKER_PORT": str(worker_port),
                "CLARION_DRAIN_DELAY": "0",
            },
        )
        await container.refuses_to_write()
        async with container.run("migrate") as migrate:
            if await migrate.wait():
                raise CannotRun("clarion migrate failed in the image, see above")
        for role, at in (("api", port), ("worker", worker_port)):
            async with container.run(role) as process:
                print(f"clarion {role} in the image: /readyz says {await _ready(process, at)}", flush=True)


class _Container:
    def __init__(self, root: Path, config: dict[str, Any], environment: dict[str, str]) -> None:
        self._root, self._config, self._environment = root, config, environment

    async def refuses_to_write(self) -> None:
        """CannotRun if the image's user could write to its root."""
        process = await self._start("python3", "-c", _PROBE)
        if await process.wait():
            raise CannotRun("the image's process is root, or may write to its root")

    @asynccontextmanager
    async def run(self, role: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """One role, by the image's own entry point; asked to stop at the end. CannotRun unless it then ends well."""
        process = await self._start(*self._config["Entrypoint"], role)
        try:
            yield process
            if process.returncode is None:
                os.kill(_first_process(process.pid), signal.SIGTERM)
                async with asyncio.timeout(_ENDS_WITHIN):
                    await process.wait()
            if process.returncode:
                raise CannotRun(f"clarion {role} ended with status {process.returncode}, see above")
        except TimeoutError:
            raise CannotRun(f"clarion {role} did not end within {_ENDS_WITHIN:.0f} s of SIGTERM") from None
        finally:
            if process.returncode is None:
                process.kill()  # the others in its namespaces end with it
                await process.wait()

    async def _start(self, *command: str) -> asyncio.subprocess.Process:
        environment = dict(entry.split("=", 1) for entry in self._config["Env"]) | self._environment
        return await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _ENTER, "sh"),
            *(str(self._root), self._config["User"]),
            *(f"{name}={value}" for name, value in environment.items()),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
        )


def _first_process(unshare: int) -> int:
    children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text("ascii").split()
    return int(children[0])


async def _ready(process: asyncio.subprocess.Process, port: int) -> str:
    """What /readyz says once it is 200."""
    try:
        return await until_ready(f"http://127.0.0.1:{port}", ended=lambda: process.returncode is not None)
    except TimeoutError as error:
        raise CannotRun(f"the image is not ready after {WITHIN:.0f} s, or has ended: {error}") from None
