"""The checkout's private RabbitMQ: its own node, cookie, ports, epmd and data folder under .clarion/."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

from deploy.amqp import FAILURES, server_version
from deploy.binaries import find_rabbitmq, search_path
from deploy.failure import CannotRun
from deploy.ports import free_port, reserved_port
from deploy.processes import Process, last_line

_USER = "clarion"
_START_TIMEOUT = 120.0  # seconds; a start takes about eight on two idle cores


class PrivateRabbitMQ:
    """One broker per checkout; ``url`` is set once it runs. ``home``: all that it keeps."""

    name = "RabbitMQ"

    def __init__(self, state: Path, password: str) -> None:
        self.home = state / "rabbitmq"
        self._password = password
        self.log = state / "rabbitmq.log"
        self.process = Process(state / "rabbitmq.json")
        self._ready = self.home / "ready"  # there when the broker that runs has been seen to answer
        self._epmd = Process(state / "epmd.json")

    @property
    def url(self) -> str:
        """AMQP URL of the checkout's broker."""
        return f"amqp://{_USER}:{self._password}@127.0.0.1:{self.process.facts()['port']}/"

    async def ensure(self) -> None:
        """Use the broker that runs already, or start it."""
        if self.process.alive() and not await self._answers(patience=10):
            self.stop()
        if not self.process.alive():
            await self._start()

    def running(self) -> bool:
        """Whether there is anything to stop."""
        return self.process.alive() or self._epmd.alive()

    def stop(self) -> None:
        """An orderly stop; without one, kill.

        A broker that only begins has nothing to put in order and is killed at once: asked to end in its first second,
        Erlang neither goes on nor ends.
        """
        orderly = [(signal.SIGTERM, 60.0)] if self._ready.exists() else []
        self.process.stop(*orderly, (signal.SIGKILL, 10))
        self._epmd.stop((signal.SIGTERM, 5), (signal.SIGKILL, 5))

    async def _start(self) -> None:
        server = find_rabbitmq()
        if server is None:
            raise CannotRun("RabbitMQ 3.10 or newer is not on this machine any more")
        self.home.mkdir(mode=0o700, exist_ok=True)
        complete = self.home / "complete"
        if not complete.exists():
            # Users are made at the very first start; one that was cut short leaves a node without them.
            shutil.rmtree(self.home / "data", ignore_errors=True)
        environment = self._environment()
        self._start_epmd(environment)
        self.log.unlink(missing_ok=True)
        self._ready.unlink(missing_ok=True)
        with reserved_port(self.process.facts().get("port")) as port:
            self._configure(port)
            self.process.start(
                [str(server.script)], log=self.log, environment=environment, facts={"port": port}, folder=self.home
            )
            answers = await self._answers(patience=_START_TIMEOUT)
        if not answers:
            self.stop()
            raise CannotRun(f"the private RabbitMQ did not start: {last_line(self.log)} (all of it: {self.log})")
        complete.touch()
        self._ready.touch()

    def _configure(self, port: int) -> None:
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{port}",
            f"default_user = {_USER}",
            f"default_pass = {self._password}",
            "log.file = false",
            "log.console = true",
        ]
        config = self.home / "rabbitmq.conf"
        config.touch(mode=0o600)
        config.write_text("\n".join(lines) + "\n", "utf-8")
        (self.home / "enabled_plugins").write_text("[].\n", "utf-8")

    def _environment(self) -> dict[str, str]:
        """Everything the scripts would else take from the machine's own installation.

        The node is named by address, so that no host name has to resolve. RUNNING_UNDER_SYSTEMD makes the
        script become the broker instead of waiting for it, so that signals meet the broker.
        """
        home = self.home
        return {
            "PATH": os.pathsep.join(map(str, search_path())),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),  # else in the folder of the caller
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "clarion@127.0.0.1",
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _start_epmd(self, environment: dict[str, str]) -> None:
        """Erlang's port mapper; a node starts one itself where none runs, and leaves it behind."""
        self._epmd.stop((signal.SIGTERM, 5), (signal.SIGKILL, 5))
        epmd = str(_epmd_program())
        command = [epmd, "-port", environment["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
        self._epmd.start(command, log=self.home / "epmd.log", environment=environment)

    async def _answers(self, *, patience: float) -> bool:
        """Whether the broker accepts a connection within so many seconds; False at once when its process ends."""
        deadline = asyncio.get_running_loop().time() + patience
        while self.process.alive() and asyncio.get_running_loop().time() < deadline:
            try:
                await server_version(self.url, patience=5)
            except FAILURES:
                await asyncio.sleep(0.1)
            else:
                return True
        return False


def _epmd_program() -> Path:
    path = os.pathsep.join(map(str, search_path()))
    if found := shutil.which("epmd", path=path):
        return Path(found)
    erlang = Path(shutil.which("erl", path=path) or "").resolve().parent.parent
    for candidate in erlang.glob("erts-*/bin/epmd"):
        return candidate
    raise CannotRun("epmd, a part of Erlang, is not on this machine")
