"""``deploy/test`` says how the tests went, and removes what killed ones have left."""

import asyncio
import os
import re
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from deploy import suite
from deploy.environment import CHECKOUT
from deploy.failure import CannotRun
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.databases import server_url
from tests.support.ledger import Ledger, remove_left
from tests.support.waiting import until

_TEST = """
import os

def test_of_the_caller_is_seen_what_is_said_to_the_tests_and_no_setting():
    assert {name for name, value in os.environ.items() if name.startswith("CLARION_") and value} == {
        "CLARION_AMQP_URL", "CLARION_DATABASE_URL", *OF_TESTS
    }

def test_that_fails():
    assert False
"""
# Takes names, makes what they name, and waits to be killed.
_KILLED = """
import asyncio, os, signal, subprocess, sys
from pathlib import Path
import aio_pika, asyncpg
from service.contracts.topology import Topology
from service.runtime.topology import declare
from tests.support.ledger import DATABASE, PREFIX, SERVER, VARIABLE, Ledger

ledger = Ledger(Path(sys.argv[1]))
os.environ[VARIABLE] = ledger.file.name
database, prefix, server = (ledger.take(kind, name) for kind, name in zip((DATABASE, PREFIX, SERVER), sys.argv[2:]))

async def make():
    admin = await asyncpg.connect(os.environ["CLARION_DATABASE_URL"])
    await admin.execute(f'CREATE DATABASE "{database}"')
    await admin.close()
    async with await aio_pika.connect(os.environ["CLARION_AMQP_URL"]) as connection:
        await declare(connection, Topology(prefix))

asyncio.run(make())
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], stdout=subprocess.DEVNULL)
print("child", child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's state that is the test's."""
    monkeypatch.setattr(suite, "STATE", tmp_path)
    monkeypatch.setattr(suite, "FOLDER", tmp_path / "tests")
    return tmp_path


async def test_its_status_is_that_of_the_tests(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = own_state / "test_two.py"
    page = (CHECKOUT / "tests" / "README.md").read_text("utf-8")
    of_tests = set(re.findall(r"CLARION_[A-Z_]+", page)) - {"CLARION_DATABASE_URL", "CLARION_AMQP_URL"}
    file.write_text(f"OF_TESTS = {of_tests}\n{_TEST}")
    for name in ("CLARION_PORT", *of_tests):
        monkeypatch.setenv(name, "1")
    plain = [str(file), "-q", "-p", "no:cacheprovider", f"--rootdir={own_state}", "-c", os.devnull]

    assert await suite.test([*plain, "-k", "caller"]) == 0
    assert await suite.test(plain) == 1


async def test_no_test_runs_when_a_check_finds_something(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check is run, so that all that is wrong is seen at once."""
    ran = own_state / "ran"
    monkeypatch.setattr(suite, "CHECKS", (("false",), ("touch", str(ran)), ("true",)))

    with pytest.raises(CannotRun, match=r"^the tests were not run, because these checks failed, see above: false$"):
        await suite.test([])

    assert ran.exists()


async def test_what_a_killed_test_process_left_is_removed(settings: Settings, tmp_path: Path) -> None:
    database, server = f"{settings.amqp_prefix}-left", tmp_path / "server"
    server.mkdir()
    names = [database, settings.amqp_prefix, str(server)]
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _KILLED, str(tmp_path / "tests"), *names), stdout=asyncio.subprocess.PIPE
    )
    assert killed.stdout is not None
    while not (line := await killed.stdout.readline()).startswith(b"child "):
        assert line
    child = psutil.Process(int(line.split()[1]))
    environment = dict(os.environ)
    assert await remove_left(tmp_path / "tests", environment) == []  # it still lives

    killed.kill()
    await killed.wait()
    living = Ledger(tmp_path / "tests")
    assert sorted(await remove_left(tmp_path / "tests", environment)) == sorted(names)

    admin = await asyncpg.connect(server_url())
    assert not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", database)
    await admin.close()
    async with broker_client(settings) as outside:
        with pytest.raises(ChannelNotFoundEntity):
            await outside.channel.declare_queue(outside.topology.directory, passive=True)
    assert not server.exists()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert living.file.exists()
    living.close()
    assert await remove_left(tmp_path / "tests", environment) == []
