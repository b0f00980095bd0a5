"""``clarion`` itself: what it has, and what it says where it cannot work (CONTRACT 2)."""

import asyncio
import re
import socket
import sys
from importlib.metadata import version

import pytest
from aiormq.exceptions import ChannelNotFoundEntity
from typer import BadParameter

from service.cli.worker import worker
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.commands import clarion
from tests.support.processes import environment, free_port, installation
from workers.process import WORKERS

# Ctrl-C at the moment in which the program wants that module.
_INTERRUPTED = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv[1]
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = ["migrate"]
runpy.run_module("service", run_name="__main__")
"""

_SERVERS = ("CLARION_DATABASE_URL", "CLARION_AMQP_URL")


async def test_every_command_is_listed_with_what_it_is_for(settings: Settings) -> None:
    done = await clarion(settings, "--help", fresh=True)

    assert (done.code, done.err) == (0, "")
    for command in ("migrate", "api", "worker", "directory", "dead", "token", "send", "batch"):
        assert any(line.split()[1:2] == [command] and len(line.split()) > 4 for line in done.out.splitlines()), command


async def test_the_worker_lists_its_consumers(settings: Settings) -> None:
    done = await clarion(settings, "worker", "--help")

    assert (done.code, done.err) == (0, "")
    assert set(WORKERS) <= {word.strip(",.:") for word in done.out.replace("│", " ").split()}


@pytest.mark.parametrize("module", ["asyncpg", "service.cli.migrate"])
async def test_ctrl_c_while_it_is_loaded_leaves_no_traceback(module: str) -> None:
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _INTERRUPTED, module),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await done.communicate()

    assert done.returncode in {1, 130}
    assert said.strip() in {b"", b"Aborted."}


async def test_what_is_no_command_is_wrong_usage(settings: Settings) -> None:
    done = await clarion(settings, "deliver")

    assert (done.code, done.out) == (2, "")
    assert "No such command 'deliver'" in done.err


@pytest.mark.parametrize("arguments", [["migrate"], ["token", "create", "--user", "7"], ["directory", "load", "-"]])
async def test_a_database_that_cannot_be_reached_is_named_by_its_variable(
    settings: Settings, arguments: list[str]
) -> None:
    away = settings.model_dump() | {"database_url": f"postgresql://operator:secret@127.0.0.1:{free_port()}/clarion"}

    done = await clarion(Settings(**away), *arguments)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: CLARION_DATABASE_URL: cannot connect: ")
    assert done.err.count("\n") == 1
    assert "secret" not in done.err


async def test_the_version_is_that_of_the_package(settings: Settings) -> None:
    assert await clarion(settings, "--version", without=_SERVERS, fresh=True) == (
        0,
        f"clarion {version('clarion')}\n",
        "",
    )


@pytest.mark.parametrize("arguments", ["directory load -", "token revoke -"])
async def test_a_closed_standard_input_is_one_line(settings: Settings, arguments: str) -> None:
    closed = ["/bin/sh", "-c", f'exec "$0" -m service {arguments} <&-', sys.executable]

    process = await asyncio.create_subprocess_exec(
        *closed, env=environment(settings), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()

    assert (process.returncode, said) == (1, b"clarion: - is standard input, and it is closed\n")


@pytest.mark.parametrize("arguments", [["migrate"], ["token", "list"], ["directory", "load", "-"]])
async def test_what_asks_only_the_database_needs_no_broker(settings: Settings, arguments: list[str]) -> None:
    done = await clarion(settings, *arguments, without=["CLARION_AMQP_URL"], fresh=True, CLARION_PORT="none")

    assert (done.code, done.err) == (0, "")


async def test_what_asks_only_the_broker_needs_no_database(settings: Settings) -> None:
    done = await clarion(settings, "dead", "list", without=["CLARION_DATABASE_URL"], fresh=True)

    assert done.err.startswith(f"clarion: there is no queue {settings.amqp_prefix}.dead at this broker")


@pytest.mark.parametrize("command", ["api", "worker"])
async def test_what_serves_names_everything_that_it_lacks(settings: Settings, command: str) -> None:
    done = await clarion(settings, command, without=_SERVERS, fresh=True, CLARION_PORT="none")

    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    for variable in (*_SERVERS, "CLARION_PORT"):
        assert f"{variable}: " in done.err


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no-such-host.invalid", "there is no such host"),
        ("192.0.2.1", "it is not an address of this machine"),
        ("a" * 70, "is not the name of a host"),
        ("", "String should have at least 1 character"),
    ],
)
async def test_a_host_on_which_it_cannot_listen_is_named_by_its_variable(
    settings: Settings, host: str, reason: str
) -> None:
    done = await clarion(settings, "api", CLARION_HOST=host, CLARION_LOG_LEVEL="error")

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(rf"clarion: CLARION_HOST: [^\n]*{reason}\n", done.err)


@pytest.mark.parametrize(("command", "setting"), [("api", "port"), ("api", "metrics_port"), ("worker", "worker_port")])
async def test_a_used_port_is_named_by_its_variable(settings: Settings, command: str, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"port": free_port(), setting: port, "log_level": "error"}

        done = await clarion(settings.model_copy(update=ports), command)

    reason = f"cannot listen on port {port} of 127.0.0.1: it is in use"
    assert done == (1, "", f"clarion: CLARION_{setting.upper()}: {reason}\n")


@pytest.mark.parametrize("arguments", [["token", "list"], ["migrate"], ["api"], ["worker"]])
async def test_an_option_that_the_database_does_not_know_stops_the_start(
    settings: Settings, arguments: list[str]
) -> None:
    url = f"{settings.database_url}?no_such_option=1"

    done = await clarion(settings, *arguments, CLARION_DATABASE_URL=url, CLARION_LOG_LEVEL="error")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: CLARION_DATABASE_URL: cannot connect: ")
    assert done.err.endswith('"no_such_option"\n')


@pytest.mark.parametrize("command", ["api", "worker"])
async def test_a_broker_that_is_away_is_named_by_its_variable_and_nowhere_else(
    settings: Settings, command: str
) -> None:
    away = {"CLARION_AMQP_URL": f"amqp://127.0.0.1:{free_port()}/"}
    async with installation(settings) as made:
        process = await made.start(command, **away)
        await process.logged("broker_unavailable", times=2)

        assert all("CLARION_AMQP_URL: cannot reach " in line for line in process.lines if "Err" in line)


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        (("hello", "t"), "CLARION_URL: 'hello' is no address of a service, such as http://127.0.0.1:8080"),
        (("http://", "t"), "CLARION_URL: 'http://' is no address of a service, such as http://127.0.0.1:8080"),
        (("ftp://127.0.0.1", "t"), "CLARION_URL: 'ftp://127.0.0.1' is no address of a service,"),
        (("http://[::1", "t"), "CLARION_URL: 'http://[::1' is no address of a service,"),
        (("http://127.0.0.1:1", "t"), "CLARION_URL: cannot reach http://127.0.0.1:1/: "),
        (("http://me:secret@127.0.0.1:1", "t"), "CLARION_URL: a user and a password in it are not used"),
        (("http://no-such-host.invalid", "t"), "CLARION_URL: cannot reach http://no-such-host.invalid/: "),
        (("http://127.0.0.1:99999", "t"), "CLARION_URL: 'http://127.0.0.1:99999' is no address of a service,"),
        (("http://127.0.0.1:1", "a\nb"), "CLARION_TOKEN: this is no token"),
        (("http://127.0.0.1:1", "ü"), "CLARION_TOKEN: this is no token"),
    ],
)
async def test_a_client_names_what_it_cannot_use(settings: Settings, caller: tuple[str, str], said: str) -> None:
    url, token = caller
    command = ("batch", "list")

    done = await clarion(settings, *command, without=_SERVERS, CLARION_URL=url, CLARION_TOKEN=token)

    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith(f"clarion: {said}")


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["requeue", "--all"], ["drop", "--all"]])
async def test_a_mistyped_prefix_makes_nothing_at_the_broker(settings: Settings, arguments: list[str]) -> None:
    done = await clarion(settings, "dead", *arguments)

    assert done.code == 1
    assert "is CLARION_AMQP_PREFIX right" in done.err
    async with broker_client(settings) as outside:
        with pytest.raises(ChannelNotFoundEntity):
            await outside.channel.declare_queue(outside.topology.dead, passive=True)


def test_a_consumer_that_is_named_twice_is_named_once_in_the_complaint() -> None:
    with pytest.raises(BadParameter, match=r"^no consumer nothing, none; there are "):
        worker(["nothing", "none", "nothing"])
