"""What a part of the run has cost besides time, and on what machine."""

import asyncio
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import aio_pika

from service.runtime.settings import Settings
from sql.connection import Connection
from tests.bench.environment import HOT_TABLES

_SIZE = "SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest($1::text[]) AS name"


async def wal_position(conn: Connection) -> int:
    """Bytes of write-ahead log written so far."""
    return cast(int, await conn.fetchval("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"))


async def stored_bytes(conn: Connection) -> int:
    """Heap, indexes and TOAST of the tables that a send writes."""
    return cast(int, await conn.fetchval(_SIZE, HOT_TABLES))


async def rows_written_since(conn: Connection, transaction: int) -> int:
    """Rows of those tables that were inserted or updated by this transaction id or a later one."""
    counts = [
        await conn.fetchval(f"SELECT count(*) FROM {table} WHERE xmin::text::bigint >= $1", transaction)
        for table in HOT_TABLES
    ]
    return sum(counts)


async def next_transaction(conn: Connection) -> int:
    """A transaction id that is younger than all so far; within the first 2^32 of a server's life."""
    return cast(int, await conn.fetchval("SELECT pg_current_xact_id()::text::bigint % (1::bigint << 32)"))


def peak_memory(pid: int) -> int:
    """Most bytes a process has had in memory at once."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"no peak memory of process {pid}")


async def watched_peak(command: asyncio.subprocess.Process) -> int:
    """The same of a command that is running, looked at until its end: afterwards there is nothing to look at."""
    peak = 0
    while command.returncode is None:
        with suppress(OSError, LookupError):
            peak = max(peak, peak_memory(command.pid))
        await asyncio.sleep(0.2)
    return peak


def memory(pid: int) -> int:
    """Bytes that a process has in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """Files, sockets and pipes of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # in user mode and in the kernel


async def machine(conn: Connection, settings: Settings) -> dict[str, Any]:
    """Cores, versions, and the server's settings that decide what a commit costs."""
    async with await aio_pika.connect(str(settings.amqp_url)) as broker:
        assert broker.transport is not None
        properties = broker.transport.connection.server_properties
    asked = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_compression", "shared_buffers")
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rabbitmq": properties["version"],
        "postgresql": {name: await conn.fetchval("SELECT current_setting($1)", name) for name in asked},
    }
