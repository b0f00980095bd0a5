"""What a test process makes outside itself, written down before it is made.

A process that ends in order removes it all, and then its ledger. Of one that was killed the ledger stays, unlocked: the
next ``deploy/test`` removes what stands in it.
"""

import os
import shutil
import signal
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import aio_pika
import asyncpg
import psutil

from deploy.environment import STATE
from deploy.locks import alone, open_lock, try_lock
from deploy.processes import Process
from service.contracts.topology import Topology

FOLDER = STATE / "tests"
# In the environment of a test process, from which its children have it: the name of the ledger.
VARIABLE = "CLARION_TEST_LEDGER"
DATABASE, PREFIX, SERVER = "database", "prefix", "server"
_STOP = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0))


class Ledger:
    """The names that one process has taken."""

    def __init__(self, folder: Path = FOLDER) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        with alone(_gate(folder)):
            self._fd = open_lock(self.file)
            try_lock(self._fd)

    def take(self, kind: str, name: str) -> str:
        """Writes the name down."""
        os.write(self._fd, f"{kind} {name}\n".encode())
        return name

    def close(self) -> None:
        """Nothing is left of what stands here."""
        self.file.unlink(missing_ok=True)
        os.close(self._fd)


@cache
def ledger() -> Ledger:
    """That of this process."""
    made = Ledger()
    os.environ[VARIABLE] = made.file.name
    return made


def new_database() -> str:
    """A name for a database that the caller drops."""
    return ledger().take(DATABASE, f"clarion_test_{uuid.uuid4().hex[:12]}")


def new_prefix() -> str:
    """A first part for names at the broker, which the caller removes."""
    return ledger().take(PREFIX, f"test-{uuid.uuid4().hex[:12]}")


def close_ledger() -> None:
    """When the process ends in order."""
    if ledger.cache_info().currsize:
        ledger().close()
        ledger.cache_clear()


async def remove_left(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Removes what killed test processes have left, at the servers of the environment and here; the names."""
    removed = []
    for file in sorted(_abandoned(folder)):
        _kill_children(file.name)
        taken = [line.partition(" ")[::2] for line in file.read_text("utf-8").splitlines()]
        names = {kind: [name for of, name in taken if of == kind] for kind in (DATABASE, PREFIX, SERVER)}
        for name in names[SERVER]:
            _remove_server(Path(name))
        await _drop(environment["CLARION_DATABASE_URL"], names[DATABASE])
        await _delete(environment["CLARION_AMQP_URL"], names[PREFIX])
        file.unlink()
        removed += [name for _, name in taken]
    return removed


def _abandoned(folder: Path) -> list[Path]:
    if not folder.exists():
        return []
    found = []
    with alone(_gate(folder)):
        for file in folder.iterdir():
            fd = open_lock(file)
            if try_lock(fd):
                found.append(file)
            os.close(fd)
    return found


def _gate(folder: Path) -> Path:
    """Held while a ledger is made: it is there a moment before it is locked."""
    return folder.with_name(f"{folder.name}.lock")


def _kill_children(name: str) -> None:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(VARIABLE) == name and process.pid != os.getpid():
                process.kill()


def _remove_server(folder: Path) -> None:
    for file in folder.glob("*.json"):
        Process(file).stop(*_STOP)
    shutil.rmtree(folder, ignore_errors=True)


async def _drop(url: str, names: list[str]) -> None:
    if not names:
        return
    admin = await asyncpg.connect(url)
    for name in names:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await admin.close()


async def _delete(url: str, prefixes: list[str]) -> None:
    if not prefixes:
        return
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for topology in map(Topology, prefixes):
            for queue in topology.queues:
                await channel.queue_delete(queue.name)
            for exchange in topology.exchanges:
                await channel.exchange_delete(exchange.name)
