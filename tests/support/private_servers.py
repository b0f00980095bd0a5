"""Servers of the test's own, which may be killed. They are the ones that deploy/run starts for a checkout."""

import asyncio
import hashlib
import json
import os
import signal
import tempfile
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import psutil
from aiormq.exceptions import AMQPError
from yarl import URL

from deploy.binaries import find_rabbitmq
from deploy.postgres import PrivatePostgres
from deploy.rabbitmq import PrivateRabbitMQ
from service.contracts.topology import Topology
from sql import migrate
from tests.support.ledger import SERVER, ledger
from tests.support.waiting import until

PASSWORD = "secret"
KILL = (signal.SIGKILL, 20.0)  # seconds until the last process of a killed server has gone


@asynccontextmanager
async def own_postgres() -> AsyncIterator[PrivatePostgres]:
    """A PostgreSQL at default durability, with a migrated database."""
    with open_folder() as folder:
        server = PrivatePostgres(Path(folder), PASSWORD)
        try:
            await server.ensure()
            conn = await asyncpg.connect(server.url)
            await migrate.migrate(conn)
            await conn.close()
            yield server
        finally:
            await asyncio.to_thread(server.stop)


def open_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that PostgreSQL's own user may enter, as pytest's may not be."""
    folder = tempfile.TemporaryDirectory(prefix="clarion-faults-")
    ledger().take(SERVER, folder.name)
    Path(folder.name).chmod(0o755)
    return folder


async def queues_on_disk(server: PrivateRabbitMQ, prefix: str) -> None:
    """Returns when an installation's queues would survive the death of their broker.

    RabbitMQ notes them in a table that it writes a second after a change. A queue that is not in there when the broker
    is killed may come back unusable, whatever was confirmed of it.
    """
    names = [queue.name for queue in Topology(prefix).queues]
    (table,) = server.home.glob("data/*/quorum/*/names.dets")

    def are_there() -> bool:
        content = table.read_bytes()
        return all(name.encode() in content for name in names)

    await until(are_there)


async def takes_queues(server: PrivateRabbitMQ) -> bool:
    """Whether a queue of the kind that Clarion uses can be declared."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    try:
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
            await channel.queue_delete(name)
    except AMQPError:
        return False
    return True


async def create_broker_user(server: PrivateRabbitMQ, *, configure: str, write: str, read: str) -> str:
    """Makes a user with these permissions, regular expressions over names; the user's AMQP URL."""
    user = f"user-{uuid.uuid4().hex[:12]}"
    permissions = {"configure": configure, "write": write, "read": read}
    await _define(
        server,
        users=[{"name": user, "tags": [], **_hashed(PASSWORD)}],
        permissions=[{"user": user, "vhost": "/", **permissions}],
    )
    return str(URL(server.url).with_user(user).with_password(PASSWORD))


def _hashed(password: str) -> dict[str, str]:
    salt = os.urandom(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "password_hash": b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
    }


async def set_memory_limit(server: PrivateRabbitMQ, share: float) -> None:
    """Of the machine's memory; with 0 the server takes no more messages."""
    await _rabbitmqctl(server, "set_vm_memory_high_watermark", str(share))


async def take_permissions(server: PrivateRabbitMQ, url: str) -> None:
    """The user of that AMQP URL may do nothing from now on."""
    user = URL(url).user
    assert user
    await _rabbitmqctl(server, "clear_permissions", user)


async def _define(server: PrivateRabbitMQ, **definitions: Any) -> None:
    """One call of rabbitmqctl, each of which starts an Erlang of its own, for all of them.

    By a file: that of RabbitMQ 4 waits for ever for its standard input.
    """
    file = server.home / f"definitions-{uuid.uuid4().hex}.json"
    file.write_text(json.dumps(definitions), "utf-8")
    await _rabbitmqctl(server, "import_definitions", str(file))


async def suspend_queue(server: PrivateRabbitMQ, name: str) -> None:
    """Stops a classic queue's process: it takes messages and confirms none, as one that is recovering."""
    await evaluate(server, f"sys:suspend({QUEUE_PROCESS.format(name=name)})")


async def resume_queue(server: PrivateRabbitMQ, name: str) -> None:
    """The queue's process goes on where it stopped."""
    await evaluate(server, f"sys:resume({QUEUE_PROCESS.format(name=name)})")


# Of a classic queue its process, of a quorum queue the name and the node of its leader.
QUEUE_PROCESS = 'amqqueue:get_pid(element(2, rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{name}">>))))'


async def evaluate(server: PrivateRabbitMQ, expression: str) -> str:
    """What the Erlang expression comes to at the server."""
    return await _rabbitmqctl(server, "eval", f"{expression}.")


async def _rabbitmqctl(server: PrivateRabbitMQ, *arguments: str) -> str:
    found = find_rabbitmq()
    assert found is not None
    process = await asyncio.create_subprocess_exec(
        found.script.with_name("rabbitmqctl"),
        *arguments,
        env=psutil.Process(server.process.facts()["pid"]).environ(),  # which node, which cookie, which port mapper
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode().strip()


async def freeze(server: PrivatePostgres | PrivateRabbitMQ) -> None:
    """Stops the server and all its processes where they are, as a paused virtual machine; its connections stay."""
    await _signal(server, signal.SIGSTOP)


async def thaw(server: PrivatePostgres | PrivateRabbitMQ) -> None:
    """A frozen server goes on where it was."""
    await _signal(server, signal.SIGCONT)


async def _signal(server: PrivatePostgres | PrivateRabbitMQ, number: signal.Signals) -> None:
    main = psutil.Process(server.process.facts()["pid"])
    for process in (main, *main.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # some end with their parent
            process.send_signal(number)


async def kill(server: PrivatePostgres | PrivateRabbitMQ) -> None:
    """kill -9 of the server and all its processes at once; returns when they have gone."""
    await _signal(server, signal.SIGKILL)
    await asyncio.to_thread(server.process.stop, KILL)
    if server.process.child is not None:
        await asyncio.to_thread(server.process.child.wait)
