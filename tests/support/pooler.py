"""PgBouncer in transaction mode before the tests' PostgreSQL: each transaction may be on another server connection."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.support.databases import server_url, with_database
from tests.support.private_servers import open_folder
from tests.support.processes import free_port
from tests.support.programs import machine_program
from tests.support.waiting import listens, until

_CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


def _start(folder: str, port: int) -> "subprocess.Popen[bytes]":
    server, file = urlsplit(server_url()), Path(folder, "pgbouncer.ini")
    configuration = _CONFIGURATION.format(
        host=server.hostname,
        port=server.port or 5432,
        user=server.username,
        password=unquote(server.password or ""),
        listen_port=port,
    )
    file.write_text(configuration)
    file.chmod(0o644)
    account = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    return subprocess.Popen(
        [machine_program("pgbouncer"), "-q", file], cwd=folder, stderr=subprocess.DEVNULL, user=account, group=account
    )


@asynccontextmanager
async def pgbouncer(database_url: str) -> AsyncIterator[str]:
    """DSN of that database behind a pooler of the test's own, which has fewer connections than it is asked for."""
    port = free_port()
    with open_folder() as folder:
        process = await asyncio.to_thread(_start, folder, port)
        try:
            await until(lambda: listens(port))
            name = urlsplit(database_url).path.lstrip("/")
            yield with_database(f"postgresql://{urlsplit(server_url()).username}@127.0.0.1:{port}/none", name)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)
