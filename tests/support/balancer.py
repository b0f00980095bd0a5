"""HAProxy before gateways of a test, with the reference configuration of deploy/haproxy."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.environment import CHECKOUT
from tests.support.private_servers import open_folder
from tests.support.processes import free_port
from tests.support.programs import machine_program
from tests.support.waiting import listens, until

CONFIGURATION = CHECKOUT / "deploy" / "haproxy" / "haproxy.cfg"
_BIND = re.compile(r"(?<=^    bind ):80$", re.MULTILINE)
_GATEWAY = re.compile(r"(?<= )10\.0\.0\.1[123]:8080$", re.MULTILINE)


def _configured(port: int, gateways: Sequence[int]) -> str:
    """The reference configuration with these ports of the loopback."""
    text, binds = _BIND.subn(f"127.0.0.1:{port}", CONFIGURATION.read_text("utf-8"))
    left = iter(gateways)
    text, servers = _GATEWAY.subn(lambda _: f"127.0.0.1:{next(left)}", text)
    assert (binds, servers) == (1, len(gateways))
    return text


def _start(program: Path, file: Path, configuration: str) -> "subprocess.Popen[bytes]":
    file.write_text(configuration, "utf-8")
    return subprocess.Popen([program, "-q", "-db", "-f", file])


@asynccontextmanager
async def balancer(gateways: Sequence[int]) -> AsyncIterator[str]:
    """URL of a balancer before three gateways on these ports."""
    program, port = machine_program("haproxy"), free_port()
    with open_folder() as folder:
        process = await asyncio.to_thread(_start, program, Path(folder, "haproxy.cfg"), _configured(port, gateways))

        def serves() -> Awaitable[bool]:
            assert process.poll() is None, "it has ended, and said why"
            return listens(port)

        try:
            await until(serves)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)
